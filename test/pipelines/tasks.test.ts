import test from 'ava'
import {
  InvalidArgumentError,
  StableDiffusionControlNetInpaintPipeline,
  type StableDiffusionControlNetPipeline,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionPAGImg2ImgPipeline,
  StableDiffusionPipeline,
  StableDiffusionXLControlNetUnionPipeline,
  type StableDiffusionXLImg2ImgPipeline,
  StableDiffusionXLPAGPipeline,
} from '../../ts/index.ts'

type OptionsOf<P extends { generate(options: never): unknown }> = Parameters<P['generate']>[0]

test('options of another task or family are errors of type', (t) => {
  const prompt = 'a red circle'
  // @ts-expect-error: text to image has no strength
  const text: OptionsOf<StableDiffusionPipeline> = { prompt, strength: 0.5 }
  // @ts-expect-error: the picture is missing
  const image: OptionsOf<StableDiffusionImg2ImgPipeline> = { prompt }
  // @ts-expect-error: the picture to follow is missing
  const controlled: OptionsOf<StableDiffusionControlNetPipeline> = { prompt }
  // @ts-expect-error: only SDXL has a second encoder
  const perturbed: OptionsOf<StableDiffusionPAGImg2ImgPipeline> = { prompt, image: 'a.png', pagScale: 3, prompt2: 'a' }
  const larger: OptionsOf<StableDiffusionXLImg2ImgPipeline> = { prompt, image: 'a.png', prompt2: 'a', denoisingEnd: 0.8 }
  t.deepEqual(Object.keys({ ...text, ...image, ...controlled, ...perturbed, ...larger }).sort(), [
    'denoisingEnd',
    'image',
    'pagScale',
    'prompt',
    'prompt2',
    'strength',
  ])
})

test('a class has the components and settings of its family and its task, and its own name', (t) => {
  const { slots } = StableDiffusionPipeline
  t.deepEqual(Object.keys(StableDiffusionControlNetInpaintPipeline.slots), [...Object.keys(slots), 'controlnet'])
  t.like(StableDiffusionXLControlNetUnionPipeline.slots, { textEncoder2: { optional: undefined }, controlnet: { folder: 'controlnet' } })
  t.false('controlnet' in slots)
  t.deepEqual(StableDiffusionPipeline.settings, [])
  t.deepEqual(StableDiffusionXLPAGPipeline.settings, ['forceZerosForEmptyPrompt', 'requiresAestheticsScore', 'pagAppliedLayers'])
  t.is(StableDiffusionPAGImg2ImgPipeline.name, 'StableDiffusionPAGImg2ImgPipeline')
})

test('pipelines of one family share components and refuse what the other task takes', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const changing = StableDiffusionImg2ImgPipeline.fromPipe(pipe)
  t.is(changing.unet, pipe.unet)
  const wrong = { prompt: 'a red circle', strength: 0.5 }
  await t.throwsAsync(async () => pipe.generate(wrong), { instanceOf: InvalidArgumentError, message: /received "strength"/ })
  await t.throwsAsync(async () => changing.generate({ prompt: 'a', image: 'a.png', ...{ latents: 1 } }), { message: /received "latents"/ })
})
