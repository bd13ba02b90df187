/**
 * The VAE's posterior: the encoder gives a mean and a log variance per latent, z = mean + exp(logvar / 2) n.
 * Follows "from image to latent" in chapter 5 of "Using Stable Diffusion with Python"; for the UNet, z is multiplied by the scaling factor.
 * Run: npx tsx examples/vae-posterior.ts [--out DIR]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { AutoencoderKL, Generator, toImages, VaeImageProcessor } from 'node-diffusion'

const { out } = parseArgs({ options: { out: { type: 'string', default: 'out/vae-posterior' } } }).values

const vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
const pixels = await new VaeImageProcessor().preprocess(new URL('pictures/circle.png', import.meta.url))
const { latentDist } = await vae.encode(pixels)
const { mean, logvar } = latentDist

const noise = new Generator(42).randn(mean.shape)
const z = mean.add(logvar.clamp(-30, 20).div(2).exp().mul(noise))
const difference = z
  .sub(latentDist.sample(new Generator(42)))
  .abs()
  .max()
  .item()
console.log(`by hand and by sample() differ by at most ${difference.toExponential(1)}`)
assert.ok(difference < 1e-5)

const deviation = (x: typeof z): string => x.std().item().toFixed(3)
console.log(
  `standard deviation of z ${deviation(z)}, after scaling by ${vae.config.scaling_factor}: ${deviation(z.mul(vae.config.scaling_factor))}`,
)
console.log(`the encoder's own deviation, mean of exp(logvar / 2): ${logvar.div(2).exp().mean().item().toFixed(4)}`)

for (const [name, latents] of Object.entries({ mode: latentDist.mode(), sample: z })) {
  const images = await toImages((await vae.decode(latents)).sample)
  for (const image of images) await image.save(`${out}/${name}.png`)
}
console.log(`mode.png and sample.png in ${out}`)
