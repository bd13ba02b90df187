/**
 * Negative prompt from components: its embeddings take the place of the unconditional half in classifier-free guidance.
 * Follows the negative-prompt listing of "Negative prompts and image-to-image from components": cat([negative, positive]), u + g * (t - u).
 * Run: npx tsx examples/negative-prompt.ts [--steps 25] [--out DIR]
 */
import { parseArgs } from 'node:util'
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTokenizer,
  DDIMScheduler,
  Generator,
  type Image,
  imageGrid,
  Tensor,
  toImages,
  UNet2DConditionModel,
} from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/negative-prompt' } } as const
const { steps, out } = parseArgs({ options }).values

const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
const textEncoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
const vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
const scheduler = await DDIMScheduler.fromPretrained('shapes', { subfolder: 'scheduler' })

const encode = async (texts: string[]): Promise<Tensor> =>
  (await textEncoder.forward(tokenizer.encode(texts, { padding: 'max_length', truncation: true }))).lastHiddenState

async function generate(prompts: string[], negativePrompts = prompts.map(() => ''), guidance = 7.5): Promise<Image[]> {
  const context = Tensor.cat([await encode(negativePrompts), await encode(prompts)])
  scheduler.setTimesteps(Number(steps))
  let latents = new Generator(100).randn([prompts.length, 4, 16, 16]).mul(scheduler.initNoiseSigma)
  for (const t of scheduler.timesteps) {
    const input = scheduler.scaleModelInput(Tensor.cat([latents, latents]), t)
    const [uncond, text] = (await unet.forward(input, t, { encoderHiddenStates: context })).sample.chunk(2)
    latents = scheduler.step(uncond.add(text.sub(uncond).mul(guidance)), t, latents).prevSample
  }
  return toImages((await vae.decode(latents.div(vae.config.scaling_factor))).sample)
}

const prompts = Array.from({ length: 4 }, () => 'a circle on a white background')
const without = await generate(prompts)
const withNegative = await generate(prompts, ['red', 'blue', 'green', 'black'])
await (await imageGrid([...without, ...withNegative], { rows: 2, cols: 4 })).save(`${out}/grid.png`)
console.log(`${out}/grid.png: above without, below with the negative prompts red, blue, green, black`)
