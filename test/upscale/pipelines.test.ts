import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  ConfigError,
  DDPMScheduler,
  InvalidArgumentError,
  StableDiffusionLatentUpscalePipeline,
  StableDiffusionPipeline,
  StableDiffusionUpscalePipeline,
  Tensor,
  UNet2DConditionModel,
} from '../../ts/index.ts'

const parity = fileURLToPath(new URL('../fixtures/parity/', import.meta.url))
const base = join(parity, 'pipelines', 'tiny-sd15')
const lowResScheduler = new DDPMScheduler()
const small = { width: 8, height: 8, data: new Uint8Array(8 * 8 * 3).fill(90) }

test('the x4 upscaler names what does not fit', async (t) => {
  const unet = await UNet2DConditionModel.fromPretrained(join(parity, 'models', 'unet_x4_upscaler'))
  await using pipe = await StableDiffusionUpscalePipeline.fromPretrained(base, { unet, lowResScheduler, maxNoiseLevel: 100 })
  const refuses = async (options: object, message: RegExp): Promise<void> => {
    await t.throwsAsync(Promise.resolve(pipe.generate({ prompt: 'a cat', image: small, ...options })), {
      instanceOf: InvalidArgumentError,
      message,
    })
  }
  await refuses({ noiseLevel: 101 }, /from 0 to 100 for noiseLevel but received 101/)
  await refuses({ image: undefined }, /image/)
  await refuses({ image: Tensor.zeros([1, 4, 8, 8]) }, /three channels/)
  await refuses({ image: [small, small] }, /image/)
  const without = StableDiffusionUpscalePipeline.fromPretrained(base, { unet })
  await t.throwsAsync(without, { instanceOf: ConfigError, message: /low_res_scheduler/ })
  await using plain = await StableDiffusionUpscalePipeline.fromPretrained(base, { lowResScheduler })
  const wrong = plain.generate({ prompt: 'a cat', image: small })
  await t.throwsAsync(Promise.resolve(wrong), { instanceOf: ConfigError, message: /in_channels 7/ })
})

test('each image of a batch depends on its own seed only', async (t) => {
  const unet = await UNet2DConditionModel.fromPretrained(join(parity, 'models', 'unet_x4_upscaler'))
  await using pipe = await StableDiffusionUpscalePipeline.fromPretrained(base, { unet, lowResScheduler })
  const common = { prompt: 'a cat', image: small, numInferenceSteps: 2, outputType: 'latent' as const }
  const both = await pipe.generate({ ...common, numImagesPerPrompt: 2, seed: 4 })
  const one = await pipe.generate({ ...common, seed: 5 })
  t.true(both.latents.slice(0, 1, 2).sub(one.latents).abs().max().item() < 1e-4) // sums of another batch size
})

test('the latent upscaler names what does not fit', async (t) => {
  const unet = await UNet2DConditionModel.fromPretrained(join(parity, 'models', 'unet_k_upscaler'))
  await using pipe = await StableDiffusionLatentUpscalePipeline.fromPretrained(base, { unet })
  const job = pipe.generate({ prompt: 'a cat', image: Tensor.zeros([1, 4, 8, 8]) })
  await t.throwsAsync(Promise.resolve(job), { instanceOf: InvalidArgumentError, message: /EulerDiscreteScheduler for scheduler/ })
  await using text = await StableDiffusionPipeline.fromPretrained(base)
  const wrong = StableDiffusionLatentUpscalePipeline.fromPipe(text).generate({ prompt: 'a cat', image: Tensor.zeros([1, 4, 8, 8]) })
  await t.throwsAsync(Promise.resolve(wrong), { instanceOf: ConfigError, message: /in_channels 8 and out_channels 5/ })
})
