/**
 * The demo of "Negative image prompt": a positive and a negative image, weight, start and end, guidance, texts and a seed.
 * Run: npx tsx examples/published/ip-adapter.ts --positive house.png --negative lawn.png [--weight 1] [--start 0] [--end 1] [--cfg 7.5] [--prompt TEXT]
 */
import { parseArgs } from 'node:util'
import { CLIPVisionModelWithProjection, IPAdapter, imagePrompt, StableDiffusionPipeline } from 'node-diffusion'

const text = (value: string): { type: 'string'; default: string } => ({ type: 'string', default: value })
const flags = {
  positive: { type: 'string' },
  negative: { type: 'string' },
  weight: text('1'),
  start: text('0'),
  end: text('1'),
  cfg: text('7.5'),
  prompt: text(''),
  negativePrompt: text(''),
  seed: text('7'),
  model: text('SG161222/Realistic_Vision_V4.0_noVAE'),
  adapter: text('ip-adapter_sd15.safetensors'),
  out: text('out/ip-adapter.png'),
} as const
const { positive, negative, model, ...values } = parseArgs({ options: flags }).values

await using adapter = await IPAdapter.fromPretrained('h94/IP-Adapter', { subfolder: 'models', weightName: values.adapter })
await using imageEncoder = await CLIPVisionModelWithProjection.fromPretrained('h94/IP-Adapter', { subfolder: 'models/image_encoder' })
await using pipe = await StableDiffusionPipeline.fromPretrained(model)
const images = {
  image: positive,
  negativeImage: negative,
  scale: Number(values.weight),
  start: Number(values.start),
  end: Number(values.end),
}
const result = await pipe.generate({
  prompt: values.prompt,
  negativePrompt: values.negativePrompt,
  guidanceScale: Number(values.cfg),
  numInferenceSteps: 30,
  conditions: [imagePrompt(adapter, { imageEncoder, ...images })],
  seed: Number(values.seed),
})
await result.images[0].save(values.out)
