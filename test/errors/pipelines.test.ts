import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  AutoPipelineForImage2Image,
  AutoPipelineForText2Image,
  Generator,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline,
  StableDiffusionPipeline,
  Tensor,
} from '../../ts/index.ts'
import { assertRefused, type Refusal, wrong } from './refusals.ts'

const invalid = 'ERR_INVALID_ARGUMENT'
const prompt = 'a star'
const picture = fileURLToPath(new URL('../../examples/pictures/circle.png', import.meta.url))
const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const redraw = StableDiffusionImg2ImgPipeline.fromPipe(pipe)
const inpaint = StableDiffusionInpaintPipeline.fromPipe(pipe)

const generate = (options: unknown) => () => pipe.generate(wrong(options))
const steps = { prompt, numInferenceSteps: 2 }

test('text to image refuses options of the wrong type or range', async (t) => {
  const named = (name: string, value: unknown): Refusal => {
    const shown = typeof value === 'number' ? `received ${String(value).replace('.', '\\.')}` : 'received'
    return [`${name}: ${String(value)}`, generate({ ...steps, [name]: value }), invalid, new RegExp(`for ${name} but ${shown}`)]
  }
  await assertRefused(t, [
    ['no options', generate(undefined), invalid, /for options but received undefined/],
    ['text as options', generate('a star'), invalid, /for options but received "a star"/],
    ['no prompt', generate({}), invalid, /for prompt but received undefined/],
    ['an unknown option', generate({ prompt, numInferenceStep: 3 }), invalid, /numInferenceSteps.*numInferenceStep/],
    ['the Python name', generate({ prompt, guidance_scale: 3 }), invalid, /guidanceScale.*guidance_scale/],
    named('prompt', 7),
    named('prompt', []),
    named('negativePrompt', { text: 'red' }),
    named('numInferenceSteps', 0),
    named('numInferenceSteps', -3),
    named('numInferenceSteps', 2.5),
    named('numInferenceSteps', Number.NaN),
    named('numInferenceSteps', '25'),
    named('numInferenceSteps', 1e9),
    named('guidanceScale', Number.NaN),
    named('guidanceScale', Number.POSITIVE_INFINITY),
    named('guidanceRescale', 1.5),
    named('numImagesPerPrompt', 0),
    named('eta', -0.1),
    named('width', 100),
    named('width', 0),
    named('height', -128),
    named('height', 1e6),
    named('seed', -1),
    named('seed', 1.5),
    named('seed', '7'),
    named('seeds', []),
    named('seeds', [1, 2]),
    named('seeds', 7),
    named('rng', 'mps'),
    named('generator', 7),
    named('clipSkip', -1),
    named('clipSkip', 99),
    named('outputType', 'pil'),
    named('preview', 'yes'),
    named('onAbort', 'ignore'),
    named('callbackOnStepEnd', true),
    named('scheduler', 7),
    named('timesteps', []),
    named('timesteps', [Number.NaN]),
    named('sigmas', ['a']),
    named('promptEmbeds', [1]),
    named('latents', [1]),
  ])
})

test('text to image refuses options that contradict each other', async (t) => {
  const embeds = Tensor.zeros([1, 77, 64])
  const latents = Tensor.zeros([1, 4, 16, 16])
  await assertRefused(t, [
    ['text and embeddings', generate({ ...steps, promptEmbeds: embeds }), invalid, /prompt/],
    ['negative text and embeddings', generate({ ...steps, negativePrompt: 'a', negativePromptEmbeds: embeds }), invalid, /negativePrompt/],
    ['embeddings without tokens', generate({ numInferenceSteps: 2, promptEmbeds: Tensor.zeros([1, 64]) }), invalid, /promptEmbeds/],
    ['embeddings of another width', generate({ numInferenceSteps: 2, promptEmbeds: Tensor.zeros([1, 77, 768]) }), invalid, /768/],
    ['two negatives for one prompt', generate({ ...steps, negativePrompt: ['a', 'b'] }), invalid, /negativePrompt/],
    ['a seed and a generator', generate({ ...steps, seed: 1, generator: new Generator(1) }), invalid, /seed/],
    ['two generators for one image', generate({ ...steps, generator: [new Generator(1), new Generator(2)] }), invalid, /for generator/],
    ['timesteps and sigmas', generate({ ...steps, timesteps: [999, 1], sigmas: [14, 0] }), invalid, /timesteps|sigmas/],
    ['timesteps that rise', generate({ ...steps, timesteps: [1, 999] }), invalid, /timesteps/],
    ['timesteps beyond the training', generate({ ...steps, timesteps: [5000, 1] }), invalid, /timesteps|5000/],
    ['latents of another size', generate({ ...steps, latents, width: 64 }), invalid, /latents/],
    ['latents for more images', generate({ ...steps, latents, numImagesPerPrompt: 2 }), invalid, /latents/],
    ['an unknown sampler', generate({ ...steps, scheduler: 'DPM++ 5Q' }), invalid, /DPM\+\+ 5Q/],
    ['an unknown sampler class', generate({ ...steps, scheduler: { _class_name: 'MyScheduler' } }), 'ERR_CONFIG', /MyScheduler/],
    [
      'an unsupported sampler value',
      generate({ ...steps, scheduler: { _class_name: 'DDIMScheduler', beta_schedule: 'cosine' } }),
      'ERR_CONFIG',
      /cosine/,
    ],
    ['no signal', () => pipe.generate(steps, { signal: wrong(true) }), invalid, /for signal but received true/],
    ['an aborted signal', () => pipe.generate(steps, { signal: AbortSignal.abort() }), 'ABORT_ERR', /aborted/],
    ['a hook with latents of another shape', generate({ ...steps, callbackOnStepEnd: () => ({ latents: embeds }) }), invalid, /latents/],
    [
      'a hook with NaN as guidance',
      generate({ ...steps, callbackOnStepEnd: () => ({ guidanceScale: Number.NaN }) }),
      invalid,
      /received NaN/,
    ],
    ['a hook that returns text', generate({ ...steps, callbackOnStepEnd: () => 'stop' }), invalid, /callbackOnStepEnd/],
  ])
})

test('what a hook throws is what the job rejects with', async (t) => {
  const error = new RangeError('enough')
  const fail = (): never => {
    throw error
  }
  t.is(await pipe.generate({ ...steps, callbackOnStepEnd: fail }).catch((caught: unknown) => caught), error)
})

test('image to image and inpainting refuse pictures, masks and strengths that do not fit', async (t) => {
  const draw = (options: object) => () => redraw.generate(wrong({ ...steps, ...options }))
  const paint = (options: object) => () => inpaint.generate(wrong({ ...steps, image: picture, ...options }))
  await assertRefused(t, [
    ['no image', draw({}), invalid, /for image but received undefined/],
    ['a missing image', draw({ image: '/nowhere/x.png' }), invalid, /for image.*nowhere/],
    ['a number as image', draw({ image: 7 }), invalid, /for image but received 7/],
    ['a text file as image', draw({ image: fileURLToPath(import.meta.url) }), invalid, /for image/],
    ['a buffer of noise', draw({ image: Buffer.from('no picture') }), invalid, /for image/],
    ['pixels that do not fill it', draw({ image: { width: 4, height: 4, data: new Uint8Array(3) } }), invalid, /for image/],
    ['a tensor of another rank', draw({ image: Tensor.zeros([8, 8]) }), invalid, /for image/],
    ['strength above 1', draw({ image: picture, strength: 1.2 }), invalid, /for strength but received 1\.2/],
    ['negative strength', draw({ image: picture, strength: -0.5 }), invalid, /for strength but received -0\.5/],
    ['strength that leaves no step', draw({ image: picture, strength: 0.1 }), invalid, /for strength but received 0\.1/],
    ['a mask that is missing', paint({ maskImage: '/nowhere/mask.png' }), invalid, /for maskImage.*nowhere/],
    ['neither mask nor alpha', paint({}), invalid, /for maskImage but received undefined/],
    ['a tensor mask of another size', paint({ maskImage: Tensor.zeros([1, 1, 8, 8]) }), invalid, /for maskImage/],
    ['a negative margin', paint({ maskImage: picture, paddingMaskCrop: -1 }), invalid, /for paddingMaskCrop but received -1/],
  ])
})

test('constructors and fromPipe refuse what is no component', async (t) => {
  const { vae, textEncoder, tokenizer, unet, scheduler } = pipe
  await assertRefused(t, [
    ['nothing', () => new StableDiffusionPipeline(wrong(undefined)), invalid, /received undefined/],
    [
      'no unet',
      () => new StableDiffusionPipeline(wrong({ vae, textEncoder, tokenizer, scheduler })),
      invalid,
      /for unet but received undefined/,
    ],
    ['the wrong vae', () => new StableDiffusionPipeline(wrong({ vae: unet, textEncoder, tokenizer, unet, scheduler })), invalid, /for vae/],
    ['fromPipe of nothing', () => AutoPipelineForImage2Image.fromPipe(wrong(undefined)), invalid, /received undefined/],
    ['fromPipe of a number', () => StableDiffusionPipeline.fromPipe(wrong(3)), invalid, /received 3/],
  ])
})

test('folders without or with a wrong model_index.json', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-index-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  await cp(new URL('../../models/shapes/', import.meta.url), folder, { recursive: true })
  const path = join(folder, 'model_index.json')
  const index = JSON.parse(await readFile(path, 'utf8'))
  const refuse = async (content: string | undefined, code: string, sentence: RegExp): Promise<void> => {
    await (content === undefined ? rm(path) : writeFile(path, content))
    const loads = [() => StableDiffusionPipeline.fromPretrained(folder), () => AutoPipelineForText2Image.fromPretrained(folder)]
    for (const load of loads) {
      await assertRefused(t, [[content ?? 'none', load, code, sentence]])
    }
  }
  await refuse('{"_class_name": ', 'ERR_CONFIG', /model_index\.json/)
  await refuse('[]', 'ERR_CONFIG', /model_index\.json/)
  await refuse(JSON.stringify({ ...index, scheduler: ['diffusers', 'MyScheduler'] }), 'ERR_CONFIG', /MyScheduler/)
  await refuse(JSON.stringify({ ...index, unet: ['diffusers', 'FluxTransformer2DModel'] }), 'ERR_CONFIG', /FluxTransformer2DModel/)
  await refuse(JSON.stringify({ ...index, unet: undefined }), 'ERR_CONFIG', /unet/)
  await refuse(JSON.stringify({ ...index, _class_name: 'FluxPipeline' }), 'ERR_CONFIG', /FluxPipeline/)
  await refuse(undefined, 'ERR_CONFIG', /model_index\.json/)
  await assertRefused(t, [
    ['a folder that is not there', () => StableDiffusionPipeline.fromPretrained('/nowhere'), invalid, /nowhere/],
    ['a number', () => StableDiffusionPipeline.fromPretrained(wrong(7)), invalid, /received 7/],
    [
      'an unknown dtype',
      () => StableDiffusionPipeline.fromPretrained('shapes', { dtype: wrong('fp16') }),
      invalid,
      /for dtype but received "fp16"/,
    ],
  ])
})

test('a disposed pipeline is refused', async (t) => {
  const gone = await StableDiffusionPipeline.fromPretrained('shapes')
  await gone.dispose()
  await gone.dispose()
  await assertRefused(t, [
    ['generate', () => gone.generate(steps), 'ERR_DISPOSED', /disposed/],
    ['encodePrompt', () => gone.encodePrompt(prompt), 'ERR_DISPOSED', /disposed/],
  ])
})

test('the pipeline still works after every refusal', async (t) => {
  const { images } = await pipe.generate({ ...steps, seed: 1 })
  t.is(images.length, 1)
})
