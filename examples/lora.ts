/**
 * LoRAs by name: one at several weights, two at once, off and on, fused, and unloaded without a trace.
 * Follows the listings of chapter 8 (load_lora_weights, set_adapters, disable_lora) and the LoRA part of chapter 16 (fuse_lora, weights 0.0).
 * The LoRA was trained for the built-in model (models/train/train_adapters.py): it puts everything on a black background.
 * Run: npx tsx examples/lora.ts [--steps 25] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type Image, imageStrip, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/lora' } } as const
const { steps, out } = parseArgs({ options }).values
const folder = fileURLToPath(new URL('../test/fixtures/adapters', import.meta.url))

await using pipe = await StableDiffusionPipeline.fromPretrained()
const generate = async (more = {}): Promise<Image> => {
  const call = { prompt: 'a red star on a white background', numInferenceSteps: Number(steps), scheduler: 'DPM++ 2M', seed: 1 }
  return (await pipe.generate({ ...call, ...more })).images[0]
}

const before = await generate()
const report = await pipe.loadLoraWeights(folder, { weightName: 'night.safetensors', adapterName: 'night' })
console.log(`${report.algorithm} of rank ${report.rank}, ${report.matched} keys matched, trigger words: ${report.triggerWords.join(', ')}`)
const full = await generate()
pipe.setAdapters('night', 0.5)
const half = await generate()

await pipe.loadLoraWeights(folder, { weightName: 'night.safetensors', adapterName: 'again' })
pipe.setAdapters(['night', 'again'], [0.5, 0.5])
const two = await generate()
pipe.disableLora()
const disabled = await generate()
pipe.enableLora()
const forOneCall = await generate({ loraWeights: { night: 0, again: 0 } })

pipe.setAdapters('night', { unet: { down: 0, mid: 1, up: 1 }, textEncoder: 0 })
const blocks = await generate()
pipe.fuseLora({ loraScale: 0.5 })
pipe.unloadLoraWeights()
const fused = await generate()
pipe.unfuseLora()
const after = await generate()

const pictures = Object.entries({ before, full, half, two, blocks, fused, after }).map(([title, image]) => ({ title, image }))
await (await imageStrip(pictures)).save(`${out}/strip.png`)
const same = (a: Image, b: Image): boolean => Buffer.from(a.rgba().data).equals(Buffer.from(b.rgba().data))
console.log(
  `disabled, weight 0 for one call, and unloaded equal the picture before: ${[disabled, forOneCall, after].every((x) => same(x, before))}`,
)
console.log(`${out}/strip.png`)
