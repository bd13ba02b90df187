/**
 * Text-to-image made by hand with the LMS scheduler, several prompts in one batch.
 * Follows `prompt_2_img(prompts, neg_prompts, g=7.5, seed=100, steps=70, dim=512)` of "Negative prompts and image-to-image from components".
 * Run: npx tsx examples/prompt-to-image.ts [--steps 70] [--out DIR]
 */
import { parseArgs } from 'node:util'
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTokenizer,
  Generator,
  type Image,
  LMSDiscreteScheduler,
  Tensor,
  toImages,
  UNet2DConditionModel,
} from 'node-diffusion'

const flags = { steps: { type: 'string', default: '70' }, out: { type: 'string', default: 'out/prompt-to-image' } } as const
const { values } = parseArgs({ options: flags })

const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
const textEncoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
const vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
const betas = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', num_train_timesteps: 1000 } as const
const scheduler = new LMSDiscreteScheduler(betas)

const encode = async (texts: string[]): Promise<Tensor> =>
  (await textEncoder.forward(tokenizer.encode(texts, { padding: 'max_length', truncation: true }))).lastHiddenState

async function promptToImage(prompts: string[], { negative = [''], g = 7.5, seed = 100, steps = 70, dim = 128 } = {}): Promise<Image[]> {
  const negatives = prompts.map((_, i) => negative[i % negative.length] ?? '')
  const context = Tensor.cat([await encode(negatives), await encode(prompts)])
  scheduler.setTimesteps(steps)
  let latents = new Generator(seed).randn([prompts.length, 4, dim / 8, dim / 8]).mul(scheduler.initNoiseSigma)
  for (const t of scheduler.timesteps) {
    const input = scheduler.scaleModelInput(Tensor.cat([latents, latents]), t)
    const [u, c] = (await unet.forward(input, t, { encoderHiddenStates: context })).sample.chunk(2)
    latents = scheduler.step(u.add(c.sub(u).mul(g)), t, latents).prevSample
  }
  return toImages((await vae.decode(latents.div(vae.config.scaling_factor))).sample)
}

const images = await promptToImage(['a yellow star on a blue background', 'a ring'], {
  negative: ['', 'green'],
  steps: Number(values.steps),
})
for (const [i, image] of images.entries()) await image.save(`${values.out}/image-${i}.png`)
console.log(`${images.length} images in ${values.out}`)
