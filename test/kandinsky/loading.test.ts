import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import {
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  AutoPipelineForText2Image,
  ConfigError,
  Generator,
  type Image,
  InvalidArgumentError,
  KandinskyV22CombinedPipeline,
  KandinskyV22ControlnetPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22Img2ImgPipeline,
  KandinskyV22InpaintPipeline,
  KandinskyV22Pipeline,
  KandinskyV22PriorPipeline,
  Tensor,
  VQModel,
} from '../../ts/index.ts'
import { distance } from '../families/goldens.ts'
import { fixtures, kandinskyCases, storedPicture } from './goldens.ts'

const { tensors } = await kandinskyCases()
const decoder = join(fixtures, 'decoder')
const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-kandinsky-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

const size = { height: 32, width: 32, numInferenceSteps: 2, seed: 3 }
const call = { ...size, prompt: 'a red cat', priorNumInferenceSteps: 2 }
const embeds = { imageEmbeds: Tensor.ones([1, 32]), negativeImageEmbeds: Tensor.zeros([1, 32]) }

test('the prior mixes texts and pictures as diffusers does', async (t) => {
  await using prior = await KandinskyV22PriorPipeline.fromPretrained(join(fixtures, 'prior'))
  const picture = storedPicture(tensors['interpolate/image'])
  const options = { numInferenceSteps: 3, negativePrompt: 'blurry, bad', generator: new Generator(5) }
  const mixed = await prior.interpolate(['a red cat on a chair', picture, 'a house'], [0.3, 0.4, 0.3], options)
  t.true(distance(mixed.imageEmbeds, tensors['interpolate/image_embeds']) < 1e-3)
  t.true(distance(mixed.negativeImageEmbeds, tensors['interpolate/negative_image_embeds']) < 1e-3)
  await t.throwsAsync(async () => prior.interpolate(['a'], [1, 2]), { instanceOf: InvalidArgumentError, message: /for weights/ })
})

test('the prior draws each image by its own seed, tells its steps, and refuses what does not fit', async (t) => {
  await using prior = await KandinskyV22PriorPipeline.fromPretrained(join(fixtures, 'prior'))
  const both = prior.generate({ prompt: ['a cat', 'a dog'], negativePrompt: 'bad', numInferenceSteps: 3, seed: 8 })
  const steps: number[] = []
  for await (const event of both) {
    if (event.type === 'step') steps.push(event.step)
  }
  t.deepEqual(steps, [1, 2, 3])
  const { imageEmbeds, negativeImageEmbeds, seeds } = await both
  t.deepEqual(seeds, [8, 9])
  const second = await prior.generate({ prompt: 'a dog', negativePrompt: 'bad', numInferenceSteps: 3, seed: 9 })
  t.true(distance(imageEmbeds.slice(0, 1, 2), second.imageEmbeds) < 1e-5)
  t.true(distance(negativeImageEmbeds.slice(0, 1, 2), second.negativeImageEmbeds) < 1e-5)
  const refused = { instanceOf: InvalidArgumentError }
  await t.throwsAsync(async () => prior.generate({ prompt: 'a', numInferenceSteps: 1 }), { ...refused, message: /numInferenceSteps/ })
  await t.throwsAsync(async () => prior.generate({ prompt: ['a', 'b'], negativePrompt: ['c'] }), {
    ...refused,
    message: /for negativePrompt/,
  })
  await t.throwsAsync(async () => prior.generate({ prompt: 'a', steps: 3 } as never), { ...refused, message: /steps/ })
})

test('AutoPipeline loads a decoder with the prior that its README names, and shares them between tasks', async (t) => {
  await using text = await AutoPipelineForText2Image.fromPretrained(decoder)
  t.true((text as unknown) instanceof KandinskyV22CombinedPipeline)
  const { images } = await text.generate(call)
  t.is(images[0].width, 32)
  t.is((await images[0].png()).subarray(1, 4).toString(), 'PNG')
  const image = AutoPipelineForImage2Image.fromPipe(text)
  t.true((image as unknown) instanceof KandinskyV22Img2ImgCombinedPipeline)
  const changed = await image.generate({ ...call, image: images[0] as Image, strength: 0.5 })
  t.is(changed.images.length, 1)
  const alone = await KandinskyV22Pipeline.fromPretrained(decoder)
  t.true((AutoPipelineForInpainting.fromPipe(alone as never) as unknown) instanceof KandinskyV22InpaintPipeline)
  t.true((await text.estimate({ height: 64, width: 64 })).peak > 0)
  alone.dispose()
})

test('a saved pipeline holds its prior, and answers as before', async (t) => {
  await using prior = await KandinskyV22PriorPipeline.fromPretrained(join(fixtures, 'prior'))
  await using pipe = await KandinskyV22CombinedPipeline.fromPretrained(decoder, { prior })
  const folder = join(scratch, 'combined')
  await pipe.savePretrained(folder)
  const index = JSON.parse(await readFile(join(folder, 'model_index.json'), 'utf8'))
  t.deepEqual(
    [index._class_name, index.movq, index.prior_prior, index.prior_image_processor],
    ['KandinskyV22CombinedPipeline', ['diffusers', 'VQModel'], ['diffusers', 'PriorTransformer'], ['transformers', 'CLIPImageProcessor']],
  )
  await using again = await KandinskyV22CombinedPipeline.fromPretrained(folder)
  const [first, second] = [await pipe.generate({ ...call, outputType: 'latent' }), await again.generate({ ...call, outputType: 'latent' })]
  t.deepEqual(second.latents.toArray(), first.latents.toArray())
  await prior.savePretrained(join(scratch, 'prior'))
  await using copy = await KandinskyV22PriorPipeline.fromPretrained(join(scratch, 'prior'))
  t.is(copy.components.imageProcessor?.config.size, 28)
})

test('each image depends on its own seed alone, and a named sampler learns no variance', async (t) => {
  await using pipe = await KandinskyV22Pipeline.fromPretrained(decoder)
  const two = await pipe.generate({ ...size, ...embeds, numImagesPerPrompt: 2, outputType: 'latent' })
  const one = await pipe.generate({ ...size, ...embeds, seed: 4, outputType: 'latent' })
  t.true(distance(two.latents.slice(0, 1, 2), one.latents) < 1e-5)
  for (const scheduler of ['DDIM', 'DPM++ 2M', 'Euler a']) {
    const { latents } = await pipe.generate({ ...size, ...embeds, scheduler, outputType: 'latent' })
    t.true(Number.isFinite(Number(latents.abs().max().item())), scheduler)
  }
  const seen: string[] = []
  const callbackOnStepEnd = (_pipe: unknown, index: number, _t: number, state: { promptEmbeds: Tensor }): void => {
    seen.push(`${index} ${state.promptEmbeds.shape}`)
  }
  await pipe.generate({ ...size, ...embeds, callbackOnStepEnd, outputType: 'latent' })
  t.deepEqual(seen, ['0 1,32', '1 1,32'])
})

test('what does not fit is refused by name before work starts', async (t) => {
  await using pipe = await KandinskyV22Pipeline.fromPretrained(decoder)
  await using hinted = KandinskyV22ControlnetPipeline.fromPipe(pipe)
  await using prior = await KandinskyV22PriorPipeline.fromPretrained(join(fixtures, 'prior'))
  const refused = { instanceOf: InvalidArgumentError }
  const { imageEmbeds, negativeImageEmbeds } = embeds
  await t.throwsAsync(async () => pipe.generate({ ...size } as never), { ...refused, message: /for imageEmbeds/ })
  await t.throwsAsync(async () => pipe.generate({ ...size, imageEmbeds }), { ...refused, message: /\(1, 32\) for negativeImageEmbeds/ })
  await t.throwsAsync(async () => pipe.generate({ ...size, imageEmbeds: Tensor.zeros([1, 8]), negativeImageEmbeds }), {
    ...refused,
    message: /\(images, 32\) for imageEmbeds/,
  })
  await t.throwsAsync(async () => pipe.generate({ ...size, ...embeds, preview: true } as never), { ...refused, message: /preview/ })
  await t.throwsAsync(async () => hinted.generate({ ...size, ...embeds, hint: Tensor.zeros([1, 3, 8, 8]) }), {
    instanceOf: ConfigError,
    message: /"image_hint" in the UNet's config for hint but received "image"/,
  })
  const image2 = KandinskyV22Img2ImgPipeline.fromPipe(pipe)
  await t.throwsAsync(async () => image2.generate({ ...size, ...embeds } as never), { ...refused, message: /for image/ })
  const inpaint = KandinskyV22InpaintPipeline.fromPipe(pipe)
  const white = { width: 4, height: 4, data: new Uint8Array(16).fill(255) }
  const picture = { width: 4, height: 4, data: new Uint8Array(48) }
  await t.throwsAsync(async () => inpaint.generate({ ...size, ...embeds, image: picture, maskImage: white }), {
    instanceOf: ConfigError,
    message: /samples of 9 channels but received one for 4/,
  })
  await t.throwsAsync(KandinskyV22CombinedPipeline.fromPretrained(decoder, { prior: decoder }), {
    instanceOf: ConfigError,
    message: /prior/,
  })
  await t.throwsAsync(KandinskyV22Pipeline.fromPretrained(join(fixtures, 'prior')), {
    instanceOf: ConfigError,
    message: /unet|movq|scheduler/,
  })
  t.throws(() => KandinskyV22Pipeline.fromPipe(prior as never), { ...refused, message: /a UNet2DConditionModel for unet/ })
  t.throws(() => new KandinskyV22Pipeline({ ...pipe.components, movq: prior as never }), { ...refused, message: /a VQModel for movq/ })
  const alone = join(scratch, 'alone')
  await cp(decoder, alone, { recursive: true })
  await writeFile(join(alone, 'README.md'), 'no front matter')
  await t.throwsAsync(KandinskyV22CombinedPipeline.fromPretrained(alone), {
    instanceOf: ConfigError,
    message: /the option prior, or a README.md/,
  })
  t.true(pipe.movq instanceof VQModel)
})
