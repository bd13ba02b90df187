/**
 * Side by side: two images with titles in one picture, the same seed without and with a negative prompt.
 * Follows the comparison figures of "Negative prompts and image-to-image from components".
 * Run: npx tsx examples/side-by-side.ts [--steps 25] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { imageStrip, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/side-by-side' } } as const
const { steps, out } = parseArgs({ options }).values

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const request = { prompt: 'a circle on a white background', seed: 100, numInferenceSteps: Number(steps) }
const without = await pipe.generate(request)
const negative = await pipe.generate({ ...request, negativePrompt: 'red' })
const figure = await imageStrip([
  { title: 'no negative prompt', image: without.images[0] },
  { title: 'negative: red', image: negative.images[0] },
])
await figure.save(`${out}/figure.png`)
console.log(`${out}/figure.png`)
