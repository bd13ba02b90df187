/**
 * Sizes, guidance scales and seeds: the parameters that one changes first.
 * Follows the parameter section of diffusers' guide to conditional image generation (guidance 2.5, 3.5, 7.5, 10.5; seeds 30 and 31).
 * Run: npx tsx examples/sizes-scales-seeds.ts [--steps 25] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { DiffusionError, type Image, imageGrid, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/sizes-scales-seeds' } } as const
const { steps, out } = parseArgs({ options }).values
const numInferenceSteps = Number(steps)

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const prompt = 'a small purple triangle on a yellow background'

const wide = await pipe.generate({ prompt, width: 192, height: 128, seed: 30, numInferenceSteps })
await wide.images[0].save(`${out}/192x128.png`)

try {
  await pipe.generate({ prompt, width: 190, height: 128 })
} catch (error) {
  if (!(error instanceof DiffusionError)) throw error
  console.log(`${error.code}: ${error.message}`)
}

const images: Image[] = []
for (const seed of [30, 31]) {
  for (const guidanceScale of [2.5, 3.5, 7.5, 10.5]) {
    const result = await pipe.generate({ prompt, guidanceScale, seed, numInferenceSteps })
    images.push(...result.images)
  }
}
await (await imageGrid(images, { rows: 2, cols: 4 })).save(`${out}/grid.png`)
console.log(`${out}/grid.png: rows are the seeds 30 and 31, columns the guidance scales 2.5, 3.5, 7.5, 10.5`)

const batch = await pipe.generate({ prompt, numImagesPerPrompt: 2, seeds: [30, 31], numInferenceSteps })
for (const image of batch.images) await image.save(`${out}/seed-${image.seed}.png`)
console.log(`one seed per image: ${batch.images.map((image) => image.seed).join(', ')}`)
