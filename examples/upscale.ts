/**
 * Three ways to a larger picture: one round of image to image, several rounds, and a hires pass.
 * Follows the book's chapter on super-resolution: Lanczos first, then image to image with strength 0.3.
 * Run: npx tsx examples/upscale.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { enlarge, hiresFix, StableDiffusionPipeline, upscale } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/upscale' } } as const
const { steps, out } = parseArgs({ options }).values
const numInferenceSteps = Number(steps)

await using pipe = await StableDiffusionPipeline.fromPretrained()
const prompt = 'a red circle on a blue background'
const small = await enlarge(new URL('pictures/circle.png', import.meta.url), 0.5)
await small.save(`${out}/small.png`)

await (await enlarge(small, 2)).save(`${out}/lanczos.png`)
const once = await upscale(pipe, small, { prompt, numInferenceSteps, seed: 1, rounds: [{ factor: 2 }] })
await once.save(`${out}/one-round.png`)

const rounds = [
  { factor: 2, guidanceScale: 8 },
  { factor: 1.5, guidanceScale: 7.5 },
]
const twice = await upscale(pipe, small, { prompt, numInferenceSteps, seed: 1, strength: 0.3, rounds, tile: { size: 128, overlap: 32 } })
await twice.save(`${out}/two-rounds-in-tiles.png`)

const { images } = await hiresFix(pipe, { prompt, numInferenceSteps, seed: 7, hires: { scale: 1.5, denoisingStrength: 0.5 } })
await images[0].save(`${out}/hires.png`)
console.log(`${small.width} -> ${once.width} in one round, ${twice.width} in two, ${images[0].width} with a hires pass`)
