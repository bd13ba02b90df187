/** Makes shapes.png, the picture of the README. Run: npx tsx docs/images/shapes.ts */
import { fileURLToPath } from 'node:url'
import { type Image, imageGrid, StableDiffusionPipeline } from 'node-diffusion'

const prompts = [
  'a red circle on a blue background',
  'a yellow star on a sunset gradient',
  'a green ring on a white background',
  'a large pink square on an ocean gradient',
  'a small orange triangle on a black background',
  'a purple cross on a yellow background',
  'a red circle on the left and a blue square on the right on a white background',
  'a cyan star on a red background',
]
await using pipe = await StableDiffusionPipeline.fromPretrained()
const images: Image[] = []
for (const prompt of prompts) {
  const result = await pipe.generate({ prompt, scheduler: 'DPM++ 2M', numInferenceSteps: 25, seed: 7 })
  images.push(...result.images)
}
const grid = await imageGrid(images, { rows: 2, cols: 4 })
await grid.save(fileURLToPath(new URL('shapes.png', import.meta.url)))
