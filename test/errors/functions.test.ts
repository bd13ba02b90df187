import test from 'ava'
import {
  AutoencoderKL,
  CLIPImageProcessor,
  ClassifierFreeGuidance,
  decodeLatents,
  embedMetadata,
  encodePrompt,
  Job,
  latentsToRgb,
  maskFromAlpha,
  parseOptions,
  readMetadata,
  Scope,
  StableDiffusionPipeline,
  Tensor,
  textToImageSchema,
} from '../../ts/index.ts'
import { assertRefused, type Refusal, wrong } from './refusals.ts'

const invalid = 'ERR_INVALID_ARGUMENT'
const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())

test('encodePrompt refuses what is not text', async (t) => {
  const refusals: Refusal[] = [
    ['a number', () => pipe.encodePrompt(wrong(7)), invalid, /for prompt but received 7/],
    ['nothing', () => pipe.encodePrompt(wrong(undefined)), invalid, /for prompt but received undefined/],
    ['no prompts', () => pipe.encodePrompt([]), invalid, /for prompt but received \[\]/],
    ['a number among prompts', () => pipe.encodePrompt(wrong(['a', 1])), invalid, /for prompt/],
    [
      'a negative that is no text',
      () => pipe.encodePrompt('a', { negativePrompt: wrong(1) }),
      invalid,
      /for negativePrompt but received 1/,
    ],
    ['two negatives', () => pipe.encodePrompt('a', { negativePrompt: ['b', 'c'] }), invalid, /for negativePrompt/],
    ['no images', () => pipe.encodePrompt('a', { numImagesPerPrompt: 0 }), invalid, /numImagesPerPrompt|repeats/],
    ['more skipped layers than there are', () => pipe.encodePrompt('a', { clipSkip: 9 }), invalid, /for clipSkip but received 9/],
    ['half a layer', () => pipe.encodePrompt('a', { clipSkip: 0.5 }), invalid, /for clipSkip but received 0\.5/],
    ['text as options', () => pipe.encodePrompt('a', wrong('b')), invalid, /for options but received "b"/],
    ['no signal', () => pipe.encodePrompt('a', { signal: wrong(1) }), invalid, /for signal but received 1/],
    ['no components', () => encodePrompt(wrong({}), 'a'), invalid, /tokenizer/],
  ]
  await assertRefused(t, refusals)
})

test('values that pipelines are made of refuse what does not fit', async (t) => {
  const guidance = new ClassifierFreeGuidance()
  const refusals: Refusal[] = [
    ['NaN as a scale', () => new ClassifierFreeGuidance({ scale: Number.NaN }), invalid, /for scale but received NaN/],
    ['a rescale above 1', () => new ClassifierFreeGuidance({ rescale: 2 }), invalid, /for rescale but received 2/],
    ['one prediction for two prompts', () => guidance.combine([Tensor.zeros([1])]), invalid, /for predictions but received 1/],
    ['a job without work', () => new Job(wrong(undefined)), invalid, /for work but received undefined/],
    ['a job with text as signal', () => new Job(async () => 1, { signal: wrong('stop') }), invalid, /for signal but received "stop"/],
    ['a listener that is no function', () => new Job(async () => 1).on(wrong(1)), invalid, /for listener but received 1/],
    ['options as a list', () => parseOptions(textToImageSchema, []), invalid, /for options but received \[\]/],
    ['latents of no VAE', () => decodeLatents(wrong(undefined), Tensor.zeros([1, 4, 2, 2])), invalid, /for vae but received undefined/],
    ['latents of three channels', () => decodeLatents(pipe.vae, Tensor.zeros([1, 3, 2, 2])), invalid, /Tensor f32 \[1, 3, 2, 2\]/],
    ['no latents', () => decodeLatents(pipe.vae, wrong([1])), invalid, /for latents but received \[1\]/],
    ['a preview of pixels', () => latentsToRgb(Tensor.zeros([1, 3, 2, 2])), invalid, /for latents/],
    ['a preview of text', () => latentsToRgb(wrong('x')), invalid, /for latents but received "x"/],
    ['what cannot be disposed', () => new Scope().keep(wrong({ a: 1 })), invalid, /for value/],
  ]
  await assertRefused(t, refusals)
})

test('functions over files refuse what they cannot read', async (t) => {
  const refusals: Refusal[] = [
    ['metadata of a missing file', () => readMetadata('/nowhere/x.png'), invalid, /nowhere/],
    ['metadata of a number', () => readMetadata(wrong(7)), invalid, /received 7/],
    ['metadata of text', () => readMetadata(Buffer.from('hello')), invalid, /./],
    ['metadata into text', () => embedMetadata(Buffer.from('hello'), wrong({})), invalid, /./],
    ['a mask from a missing file', () => maskFromAlpha('/nowhere/x.png'), invalid, /nowhere/],
    ['a CLIP picture that is none', () => new CLIPImageProcessor().preprocess(wrong(7)), invalid, /received 7/],
    ['a VAE from a file that is none', () => AutoencoderKL.fromPretrained('/etc/hostname'), invalid, /hostname/],
  ]
  await assertRefused(t, refusals)
})
