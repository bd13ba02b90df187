/**
 * The two upscalers with networks of their own: four times in pixels (StableDiffusionUpscalePipeline) and twice in latents.
 * The book's chapter on super-resolution names them and goes another way, see upscale.ts. By default it runs models of random weights, so that the
 * pictures are noise; for real ones say --x4 stabilityai/stable-diffusion-x4-upscaler --latent stabilityai/sd-x2-latent-upscaler
 * Run: npx tsx examples/super-resolution.ts [--image FILE] [--steps 10] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import {
  DDPMScheduler,
  EulerDiscreteScheduler,
  enlarge,
  StableDiffusionLatentUpscalePipeline,
  StableDiffusionUpscalePipeline,
  UNet2DConditionModel,
} from 'node-diffusion'

const fixture = (name: string): string => fileURLToPath(new URL(`../test/fixtures/parity/${name}`, import.meta.url))
const options = {
  x4: { type: 'string' },
  latent: { type: 'string' },
  image: { type: 'string', default: fileURLToPath(new URL('pictures/circle.png', import.meta.url)) },
  steps: { type: 'string', default: '10' },
  out: { type: 'string', default: 'out/super-resolution' },
} as const
const { x4, latent, image, steps, out } = parseArgs({ options }).values
const small = await enlarge(image, 0.25)
const call = { prompt: 'a red circle', image: small, numInferenceSteps: Number(steps), seed: 1 }
const unet = (name: string): Promise<UNet2DConditionModel> => UNet2DConditionModel.fromPretrained(fixture(`models/${name}`))
const base = fixture('pipelines/tiny-sd15')

await using byFour = x4
  ? await StableDiffusionUpscalePipeline.fromPretrained(x4)
  : await StableDiffusionUpscalePipeline.fromPretrained(base, {
      unet: await unet('unet_x4_upscaler'),
      lowResScheduler: new DDPMScheduler(),
    })
const [large] = (await byFour.generate({ ...call, noiseLevel: 20 })).images
await large.save(`${out}/x4.png`)

await using byTwo = latent
  ? await StableDiffusionLatentUpscalePipeline.fromPretrained(latent)
  : await StableDiffusionLatentUpscalePipeline.fromPretrained(base, {
      unet: await unet('unet_k_upscaler'),
      scheduler: new EulerDiscreteScheduler(),
    })
const [twice] = (await byTwo.generate({ ...call, guidanceScale: 0 })).images
await twice.save(`${out}/x2.png`)
console.log(`${small.width} -> ${large.width} and ${twice.width} in ${out}`)
