/**
 * Image-to-image made by hand: noise is added to a picture's latents, and only the last part of the schedule removes it.
 * Follows `prompt_2_img_i2i(prompts, init_img, neg_prompts, g=7.5, seed=100, strength=0.8, steps=50)` of
 * "Negative prompts and image-to-image from components": 40 of 50 steps at the defaults.
 * Run: npx tsx examples/image-to-image.ts [--steps 50] [--out DIR]
 */
import { parseArgs } from 'node:util'
import * as nd from 'node-diffusion'

const flags = { steps: { type: 'string', default: '50' }, out: { type: 'string', default: 'out/image-to-image' } } as const
const { values } = parseArgs({ options: flags })

const tokenizer = await nd.CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
const textEncoder = await nd.CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
const vae = await nd.AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
const unet = await nd.UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
const scheduler = new nd.LMSDiscreteScheduler({ beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' })

const encode = async (texts: string[]): Promise<nd.Tensor> =>
  (await textEncoder.forward(tokenizer.encode(texts, { padding: 'max_length', truncation: true }))).lastHiddenState

async function imageToImage(prompt: string, picture: URL, { negative = '', g = 7.5, seed = 100, strength = 0.8, steps = 50 } = {}) {
  const generator = new nd.Generator(seed)
  const context = nd.Tensor.cat([await encode([negative]), await encode([prompt])])
  const pixels = await new nd.VaeImageProcessor().preprocess(picture, { height: 128, width: 128 })
  const clean = (await vae.encode(pixels)).latentDist.sample(generator).mul(vae.config.scaling_factor)

  scheduler.setTimesteps(steps)
  const timesteps = scheduler.timesteps.slice(Math.max(steps - Math.trunc(steps * strength), 0))
  let latents = scheduler.addNoise(clean, generator.randn(clean.shape), timesteps.slice(0, 1))
  for (const t of timesteps) {
    const input = scheduler.scaleModelInput(nd.Tensor.cat([latents, latents]), t)
    const [u, c] = (await unet.forward(input, t, { encoderHiddenStates: context })).sample.chunk(2)
    latents = scheduler.step(u.add(c.sub(u).mul(g)), t, latents).prevSample
  }
  console.log(`strength ${strength}: ${timesteps.length} of ${steps} steps`)
  return nd.toImages((await vae.decode(latents.div(vae.config.scaling_factor))).sample)
}

const steps = Number(values.steps)
for (const strength of [0.5, 0.8]) {
  const picture = new URL('pictures/circle.png', import.meta.url)
  const [image] = await imageToImage('a yellow star on a green background', picture, { negative: 'blue', strength, steps })
  await image?.save(`${values.out}/strength-${strength}.png`)
}
