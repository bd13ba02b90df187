/**
 * SDXL: base and refiner as an ensemble over one schedule, the refiner on finished latents, image to image and inpainting, all sharing their weights.
 * Follows the SDXL listings of chapters 6 and 16. By default it runs models of random weights, so that the pictures are noise; for real ones say
 * --model stabilityai/stable-diffusion-xl-base-1.0 --refiner stabilityai/stable-diffusion-xl-refiner-1.0 --size 1024 --steps 40
 * Run: npx tsx examples/sdxl.ts [--steps 10] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { imageStrip, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline } from 'node-diffusion'

const tiny = (name: string): string => fileURLToPath(new URL(`../test/fixtures/parity/pipelines/${name}`, import.meta.url))
const options = {
  model: { type: 'string', default: tiny('tiny-sdxl') },
  refiner: { type: 'string', default: tiny('tiny-sdxl-refiner') },
  size: { type: 'string', default: '64' },
  steps: { type: 'string', default: '10' },
  out: { type: 'string', default: 'out/sdxl' },
} as const
const { values } = parseArgs({ options })
const [size, numInferenceSteps] = [Number(values.size), Number(values.steps)]

await using base = await StableDiffusionXLPipeline.fromPretrained(values.model, { dtype: 'f16' })
const { textEncoder2, tokenizer2, vae } = base.components
const shared = { textEncoder2, tokenizer2, vae }
await using refiner = await StableDiffusionXLImg2ImgPipeline.fromPretrained(values.refiner, { ...shared, dtype: 'f16' })

const common = { prompt: 'a cat in a spacesuit', negativePrompt: 'paint, watermark', numInferenceSteps, scheduler: 'Euler', seed: 1 }
const text = { ...common, height: size, width: size }
const plain = await base.generate(text)
const [image] = plain.images

// Two ways to the refiner: over the last fifth of the schedule, or on the finished latents by strength.
const half = await base.generate({ ...text, denoisingEnd: 0.8, outputType: 'latent' })
const ensemble = await refiner.generate({ ...common, image: half.latents, denoisingStart: 0.8 })
const done = await base.generate({ ...text, outputType: 'latent' })
const refined = await refiner.generate({ ...common, image: done.latents, strength: 0.3, aestheticScore: 6 })

const redrawn = await StableDiffusionXLImg2ImgPipeline.fromPipe(base).generate({ ...common, image, strength: 0.5 })
const data = Uint8Array.from({ length: size * size }, (_, i) => (i % size < size / 2 ? 0 : 255))
const maskImage = { width: size, height: size, data }
const inpainted = await StableDiffusionXLInpaintPipeline.fromPipe(base).generate({ ...common, image, maskImage, strength: 0.9 })

const results = Object.entries({ base: plain, ensemble, refined, 'image to image': redrawn, inpainted })
await (await imageStrip(results.map(([title, { images }]) => ({ title, image: images[0] })))).save(`${values.out}/strip.png`)
console.log(`${values.out}/strip.png`)
