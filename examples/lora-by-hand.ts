/**
 * A LoRA merged by hand: for each layer of the UNet W + weight * alpha / rank * up @ down, and a model from the changed weights.
 * Follows the hand-made loader of chapter 8 (load_lora), which leaves alpha out; it equals the pipeline's model within rounding.
 * Run: npx tsx examples/lora-by-hand.ts [--out DIR]
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Generator, LoraAdapter, StableDiffusionPipeline, Tensor, UNet2DConditionModel } from 'node-diffusion'

const { values } = parseArgs({ options: { out: { type: 'string', default: 'out/lora-by-hand' } } })
const root = fileURLToPath(new URL('..', import.meta.url))
const path = join(root, 'test/fixtures/adapters/night.safetensors')
const weight = 0.8

const lora = await Tensor.loadSafetensors(path)
const weights = await Tensor.loadSafetensors(join(root, 'models/shapes/unet/diffusion_pytorch_model.safetensors'))
const flat = new Map(Object.keys(weights).map((key) => [`lora_unet_${key.replace(/\.weight$/, '').replaceAll('.', '_')}`, key]))
let merged = 0
for (const [key, down] of Object.entries(lora).filter(([key]) => key.startsWith('lora_unet_') && key.endsWith('.lora_down.weight'))) {
  const name = key.slice(0, -'.lora_down.weight'.length)
  const [up, alpha, target] = [lora[`${name}.lora_up.weight`], lora[`${name}.alpha`], flat.get(name)]
  const base = target === undefined ? undefined : weights[target]
  if (up === undefined || alpha === undefined || target === undefined || base === undefined) throw new Error(`No layer for ${key}`)
  const scale = (weight * alpha.to('f32').item()) / (down.shape[0] ?? 1)
  const product = up.to('f32').unsqueeze(2).mul(down.to('f32').unsqueeze(0)).sum(1)
  weights[target] = base.to('f32').add(product.mul(scale))
  merged += 1
}

const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
const byHand = await UNet2DConditionModel.fromWeights(unet.config, weights)
const adapted = unet.withAdapters([{ adapter: await LoraAdapter.load(path), weight }])
const sample = new Generator(1).randn([1, 4, 16, 16])
const options = { encoderHiddenStates: new Generator(2).randn([1, 77, 64]) }
const [one, other] = [await byHand.forward(sample, 500, options), await adapted.forward(sample, 500, options)]
const difference = Math.max(...one.sample.sub(other.sample).abs().toArray())
console.log(`${merged} layers merged by hand; the predictions differ by ${difference.toExponential(1)}`)
if (!(difference < 1e-4)) process.exitCode = 1

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes', { unet: byHand })
const { images } = await pipe.generate({ prompt: 'a red star on a white background', numInferenceSteps: 20, seed: 1 })
await images[0].save(join(values.out, 'night.png'))
