/**
 * Style transfer: image to image keeps the composition of one picture, an image prompt brings the look of another.
 * Follows the listing "Transferring style" of chapter 18 (strength 0.5, so that half of the steps run). For published models say
 * --model stable-diffusion-v1-5/stable-diffusion-v1-5 --adapter h94/IP-Adapter --subfolder models --weights ip-adapter_sd15.bin --image a.png --style b.png
 * Run: npx tsx examples/style-transfer.ts [--strength 0.5] [--scale 1] [--steps 40] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { enlarge, imageStrip, StableDiffusionImg2ImgPipeline } from 'node-diffusion'

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const text = (value: string): { type: 'string'; default: string } => ({ type: 'string', default: value })
const flags = {
  ...{ model: text('shapes'), adapter: text(path('../test/fixtures/adapters/image-prompt')), weights: text('ip-adapter.safetensors') },
  ...{ subfolder: { type: 'string' as const }, image: text(path('pictures/square.png')), style: text(path('pictures/circle.png')) },
  ...{ prompt: text(''), strength: text('0.8'), scale: text('1'), out: text('out/style-transfer') },
} as const
const options = { ...flags, steps: { type: 'string', default: '40' } } as const
const { model, adapter, weights: weightName, subfolder, image, style, prompt, out, ...values } = parseArgs({ options }).values

await using pipe = await StableDiffusionImg2ImgPipeline.fromPretrained(model)
const call = { prompt, image, strength: Number(values.strength), numInferenceSteps: Number(values.steps), seed: 1 }
const plain = await pipe.generate(call)
await pipe.loadIpAdapter(adapter, { weightName, subfolder })
pipe.setIpAdapterScale(Number(values.scale))
const styled = await pipe.generate({ ...call, ipAdapterImage: style })

const results = {
  image: await enlarge(image, 1),
  style: await enlarge(style, 1),
  'without it': plain.images[0],
  with: styled.images[0],
}
await (await imageStrip(Object.entries(results).map(([title, picture]) => ({ title, image: picture })))).save(`${out}/strip.png`)
console.log(`${out}/strip.png`)
