/**
 * Latents to images: a whole batch of latents is decoded at once.
 * Follows the decoding listing of "Negative prompts and image-to-image from components": latents / scaling factor, decode, x / 2 + 0.5, 8-bit RGB.
 * Run: npx tsx examples/latents-to-images.ts [--out DIR]
 */
import { parseArgs } from 'node:util'
import { AutoencoderKL, Generator, Image, type Tensor, VaeImageProcessor } from 'node-diffusion'

const { out } = parseArgs({ options: { out: { type: 'string', default: 'out/latents-to-images' } } }).values

const vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })

async function latentsToImages(latents: Tensor): Promise<Image[]> {
  const { sample } = await vae.decode(latents.div(vae.config.scaling_factor))
  const [batch = 0, , height = 0, width = 0] = sample.shape
  const pixels = sample.div(2).add(0.5).clamp(0, 1).mul(255).permute([0, 2, 3, 1]).reshape([batch, -1])
  return Array.from({ length: batch }, (_, i) => new Image({ width, height, data: Uint8Array.from(pixels.index(i).toArray(), Math.round) }))
}

const pictures = ['circle', 'square'].map((name) => new URL(`pictures/${name}.png`, import.meta.url))
const batch = await new VaeImageProcessor().preprocess(pictures)
const latents = (await vae.encode(batch)).latentDist.sample(new Generator(100)).mul(vae.config.scaling_factor)
console.log(`latents (${latents.shape.join(', ')})`)
for (const [i, image] of (await latentsToImages(latents)).entries()) {
  await image.save(`${out}/decoded-${i}.png`)
  console.log(`${out}/decoded-${i}.png`)
}
