/**
 * Image to latents: an RGB picture becomes the small tensor that the UNet works on.
 * Follows the first listing of "Negative prompts and image-to-image from components": RGB, [0, 1], x * 2 - 1, encode, times the scaling factor.
 * Run: npx tsx examples/image-to-latents.ts [--out DIR]
 */
import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { AutoencoderKL, Generator, imageGrid, loadImage, Tensor, toImages } from 'node-diffusion'

const { out } = parseArgs({ options: { out: { type: 'string', default: 'out/image-to-latents' } } }).values
await mkdir(out, { recursive: true })

const vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })

async function imageToLatents(path: URL): Promise<Tensor> {
  const { data, width, height } = await loadImage(path)
  const rgb = Tensor.from(data, [1, height, width, 4], 'f32').slice(3, 0, 3).permute([0, 3, 1, 2])
  const { latentDist } = await vae.encode(rgb.div(255).mul(2).sub(1))
  return latentDist.sample(new Generator(100)).mul(vae.config.scaling_factor)
}

const latents = await imageToLatents(new URL('pictures/circle.png', import.meta.url))
console.log(`image (1, 3, 128, 128) -> latents (${latents.shape.join(', ')})`)
console.log(`mean ${latents.mean().item().toFixed(3)}, standard deviation ${latents.std().item().toFixed(3)}`)
await Tensor.saveSafetensors(`${out}/latents.safetensors`, { latents })

const channels = latents.permute([1, 0, 2, 3]).div(2).clamp(-1, 1).expand([4, 3, 16, 16]).repeatInterleave(8, 2).repeatInterleave(8, 3)
const grid = await imageGrid(await toImages(channels), { rows: 1, cols: 4 })
await grid.save(`${out}/channels.png`)
console.log(`${out}/channels.png shows the four channels`)
