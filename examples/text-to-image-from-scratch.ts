/**
 * Text-to-image from scratch: every component loaded by itself, the loop written out, and the result equal to the pipeline's.
 * Follows the hand-made pipeline in chapter 5 of "Using Stable Diffusion with Python" (Euler, 20 steps, guidance 7.5).
 * Run: npx tsx examples/text-to-image-from-scratch.ts [--steps 20] [--out DIR]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import * as nd from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/text-to-image-from-scratch' } } as const
const { values } = parseArgs({ options })
const steps = Number(values.steps)

const tokenizer = await nd.CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
const textEncoder = await nd.CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
const vae = await nd.AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
const unet = await nd.UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
const scheduler = await nd.EulerDiscreteScheduler.fromPretrained('shapes', { subfolder: 'scheduler' })

const encode = async (text: string): Promise<nd.Tensor> =>
  (await textEncoder.forward(tokenizer.encode(text, { padding: 'max_length', truncation: true }))).lastHiddenState

const prompt = 'a red circle on a blue background'
const encoderHiddenStates = nd.Tensor.cat([await encode(''), await encode(prompt)])
scheduler.setTimesteps(steps)
let latents = new nd.Generator(7).randn([1, 4, 16, 16]).mul(scheduler.initNoiseSigma)
for (const t of scheduler.timesteps) {
  const input = scheduler.scaleModelInput(nd.Tensor.cat([latents, latents]), t)
  const [uncond, text] = (await unet.forward(input, t, { encoderHiddenStates })).sample.chunk(2)
  latents = scheduler.step(uncond.add(text.sub(uncond).mul(7.5)), t, latents).prevSample
}
const [image] = await nd.toImages((await vae.decode(latents.div(vae.config.scaling_factor))).sample)
await image?.save(`${values.out}/image.png`)

await using pipe = new nd.StableDiffusionPipeline({ vae, textEncoder, tokenizer, unet, scheduler })
const { images } = await pipe.generate({ prompt, numInferenceSteps: steps, guidanceScale: 7.5, seed: 7 })
const worst = images[0].data.reduce((most, value, i) => Math.max(most, Math.abs(value - (image?.data[i] ?? 0))), 0)
assert.ok(worst <= 1, `the pipeline's picture differs by ${worst} of 255`)
console.log(`${values.out}/image.png; the pipeline's picture differs by at most ${worst} of 255`)
