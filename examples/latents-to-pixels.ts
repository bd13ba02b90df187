/**
 * Latents to pixels by hand: decode, x / 2 + 0.5, clamp, times 255, rounded, channels last, and sharp writes the file.
 * Follows "from latent to image" in chapter 5 of "Using Stable Diffusion with Python"; what is decoded is the rescaled tensor, z = latents / scaling factor.
 * Run: npx tsx examples/latents-to-pixels.ts [--steps 25] [--out DIR]
 */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { StableDiffusionPipeline, toImages } from 'node-diffusion'
import sharp from 'sharp'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/latents-to-pixels' } } as const
const { steps, out } = parseArgs({ options }).values
await mkdir(out, { recursive: true })

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const prompt = 'a pink star on a green background'
const { latents } = await pipe.generate({ prompt, seed: 5, numInferenceSteps: Number(steps), outputType: 'latent' })

const z = latents.div(pipe.vae.config.scaling_factor)
const x = (await pipe.vae.decode(z)).sample
const [height = 0, width = 0] = x.shape.slice(2)
const pixels = x.div(2).add(0.5).clamp(0, 1).index(0).permute([1, 2, 0]).mul(255)
const data = Uint8Array.from(pixels.toArray(), Math.round)
await sharp(data, { raw: { width, height, channels: 3 } })
  .png()
  .toFile(`${out}/image.png`)
console.log(`${out}/image.png, ${width} x ${height}`)

const [image] = await toImages(x)
const worst = data.reduce((most, value, i) => Math.max(most, Math.abs(value - (image?.data[i] ?? 0))), 0)
console.log(`by hand and by toImages differ by at most ${worst} of 255`)
assert.ok(worst <= 1)
