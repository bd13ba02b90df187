/**
 * Intermediate images: the latents of every step, decoded and saved, so that the picture is seen coming out of the noise.
 * Follows the `save_int` option of the listings in "Negative prompts and image-to-image from components".
 * Run: npx tsx examples/intermediate-images.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTokenizer,
  Generator,
  LMSDiscreteScheduler,
  Tensor,
  toImages,
  UNet2DConditionModel,
} from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/intermediate-images' } } as const
const { steps, out } = parseArgs({ options }).values

const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
const textEncoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
const vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
const scheduler = new LMSDiscreteScheduler({ beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' })

const encode = async (texts: string[]): Promise<Tensor> =>
  (await textEncoder.forward(tokenizer.encode(texts, { padding: 'max_length', truncation: true }))).lastHiddenState

async function save(latents: Tensor, path: string): Promise<void> {
  const { sample } = await vae.decode(latents.div(vae.config.scaling_factor))
  for (const image of await toImages(sample)) await image.save(path)
}

const context = Tensor.cat([await encode(['']), await encode(['a green square on a pink background'])])
scheduler.setTimesteps(Number(steps))
let latents = new Generator(100).randn([1, 4, 16, 16]).mul(scheduler.initNoiseSigma)
for (const [i, t] of scheduler.timesteps.entries()) {
  const input = scheduler.scaleModelInput(Tensor.cat([latents, latents]), t)
  const [uncond, text] = (await unet.forward(input, t, { encoderHiddenStates: context })).sample.chunk(2)
  latents = scheduler.step(uncond.add(text.sub(uncond).mul(7.5)), t, latents).prevSample
  await save(latents, `${out}/steps/${String(i).padStart(4, '0')}.png`)
}
await save(latents, `${out}/final.png`)
console.log(`${scheduler.timesteps.length} pictures in ${out}/steps, the last one is ${out}/final.png`)
