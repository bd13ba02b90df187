/**
 * Image prompts: a positive image, a negative image alone and beside it, with and without text; weight, start and end, guidance.
 * Follows the demo of "Negative image prompt". The IP-Adapter was trained for the built-in model (models/train/train_image_prompt.py); for published
 * ones say --model stable-diffusion-v1-5/stable-diffusion-v1-5 --adapter h94/IP-Adapter --subfolder models --weights ip-adapter_sd15.safetensors
 * Run: npx tsx examples/ip-adapter.ts [--positive FILE] [--negative FILE] [--prompt TEXT] [--weight 1] [--start 0] [--end 1] [--cfg 7.5] [--steps 20]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CLIPVisionModelWithProjection, type Image, IPAdapter, imagePrompt, imageStrip, StableDiffusionPipeline } from 'node-diffusion'

const text = (value: string): { type: 'string'; default: string } => ({ type: 'string', default: value })
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const flags = {
  ...{ model: text('shapes'), adapter: text(path('../test/fixtures/adapters/image-prompt')), subfolder: text('') },
  ...{ weights: text('ip-adapter.safetensors'), positive: text(path('pictures/circle.png')), negative: text(path('pictures/square.png')) },
  ...{ prompt: text('a triangle'), negativePrompt: text(''), weight: text('1'), start: text('0'), end: text('1'), cfg: text('7.5') },
} as const
const options = { ...flags, steps: { type: 'string', default: '20' }, seed: text('3'), out: text('out/ip-adapter') } as const
const { model, adapter: source, subfolder, positive, negative, prompt, negativePrompt, out, ...values } = parseArgs({ options }).values

const encoder = `${subfolder}/image_encoder`.replace(/^\//, '')
await using imageEncoder = await CLIPVisionModelWithProjection.fromPretrained(source, { subfolder: encoder })
await using adapter = await IPAdapter.fromPretrained(source, { subfolder, weightName: values.weights })
await using pipe = await StableDiffusionPipeline.fromPretrained(model)

const how = { imageEncoder, scale: Number(values.weight), start: Number(values.start), end: Number(values.end) }
const common = { guidanceScale: Number(values.cfg), numInferenceSteps: Number(values.steps), seed: Number(values.seed) }
async function draw(images: { image?: string; negativeImage?: string }, texts = {}): Promise<Image> {
  const conditions = Object.keys(images).length === 0 ? [] : [imagePrompt(adapter, { ...how, ...images })]
  return (await pipe.generate({ prompt: '', ...texts, ...common, conditions })).images[0]
}

const results = {
  'nothing at all': await draw({}),
  'positive image': await draw({ image: positive }),
  'negative image': await draw({ negativeImage: negative }),
  'both images': await draw({ image: positive, negativeImage: negative }),
  'image and text': await draw({ image: positive }, { prompt, negativePrompt }),
  'text, not like': await draw({ negativeImage: negative }, { prompt, negativePrompt }),
}
await (await imageStrip(Object.entries(results).map(([title, image]) => ({ title, image })))).save(`${out}/strip.png`)
console.log(`${out}/strip.png`)
