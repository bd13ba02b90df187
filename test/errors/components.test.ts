import test from 'ava'
import { AutoencoderKL, CLIPTextModel, CLIPTokenizer, DiagonalGaussianDistribution, Tensor, UNet2DConditionModel } from '../../ts/index.ts'
import { assertRefused, type Refusal, wrong } from './refusals.ts'

const invalid = 'ERR_INVALID_ARGUMENT'
const [tokenizer, textEncoder, unet, vae] = await Promise.all([
  CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' }),
  CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' }),
  UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' }),
  AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' }),
])
const sample = Tensor.zeros([1, 4, 16, 16])
const encoderHiddenStates = Tensor.zeros([1, 77, 64])

test('loading refuses bad options', async (t) => {
  const load = (dir: string, options?: object) => () => UNet2DConditionModel.fromPretrained(dir, options)
  const refusals: Refusal[] = [
    ['a number as folder', load(wrong(1)), invalid, /for dir but received 1/],
    ['an empty folder name', load(''), invalid, /for dir but received ""/],
    ['a folder that is not there', load('/nowhere'), invalid, /for dir but received "\/nowhere"/],
    ['a subfolder that is not there', load('shapes', { subfolder: 'unett' }), invalid, /for subfolder but received "unett"/],
    ['options as text', load('shapes', wrong('fp16')), invalid, /for options but received "fp16"/],
    ['an unknown dtype', load('shapes', { subfolder: 'unet', dtype: 'float16' }), invalid, /for dtype but received "float16"/],
    ['an unknown device', load('shapes', { subfolder: 'unet', device: 'gpu' }), invalid, /for device but received "gpu"/],
    ['a device that this build lacks', load('shapes', { subfolder: 'unet', device: 'cuda' }), 'ERR_DEVICE', /cuda/],
    ['a variant that is not there', load('shapes', { subfolder: 'unet', variant: 'ema' }), 'ERR_WEIGHTS', /ema/],
    ['no function to report to', load('shapes', { subfolder: 'unet', onProgress: true }), invalid, /for onProgress but received true/],
    ['no signal', load('shapes', { subfolder: 'unet', signal: {} }), invalid, /for signal/],
    ['an aborted signal', load('shapes', { subfolder: 'unet', signal: AbortSignal.abort() }), 'ABORT_ERR', /aborted/],
    ['another component', load('shapes', { subfolder: 'vae' }), 'ERR_CONFIG', /./],
  ]
  await assertRefused(t, refusals)
})

test('the tokenizer refuses what is not text or ids', async (t) => {
  const refusals: Refusal[] = [
    ['a number', () => tokenizer.encode(wrong(7)), invalid, /for text but received 7/],
    ['no text', () => tokenizer.encode([]), invalid, /for text but received \[\]/],
    ['a number among texts', () => tokenizer.encode(wrong(['a', 7])), invalid, /for text\[1\] but received 7/],
    ['texts of different lengths', () => tokenizer.encode(['a', 'a red circle']), invalid, /padding/],
    ['an unknown padding', () => tokenizer.encode('a', { padding: wrong('left') }), invalid, /for padding but received "left"/],
    ['a length of one', () => tokenizer.encode('a', { maxLength: 1 }), invalid, /for maxLength but received 1/],
    ['NaN as length', () => tokenizer.encode('a', { maxLength: Number.NaN }), invalid, /for maxLength but received NaN/],
    ['text as truncation', () => tokenizer.encode('a', { truncation: wrong('yes') }), invalid, /for truncation but received "yes"/],
    ['text as ids', () => tokenizer.decode(wrong('abc')), invalid, /for ids but received "abc"/],
    ['a negative id', () => tokenizer.decode([-1]), invalid, /for ids\[0\] but received -1/],
    ['an id beyond the vocabulary', () => tokenizer.convertIdsToTokens([999_999]), invalid, /999999/],
    ['a number as a token', () => tokenizer.addTokens(wrong([1])), invalid, /for tokens\[0\] but received 1/],
    ['a flat tensor as batch', () => tokenizer.batchDecode(Tensor.from([1, 2])), invalid, /for ids/],
  ]
  await assertRefused(t, refusals)
})

test('the text encoder refuses ids that do not fit', async (t) => {
  const ids = (shape: number[], value = 0): Tensor => Tensor.full(shape, value, 'i64')
  const refusals: Refusal[] = [
    ['text', () => textEncoder.forward(wrong('a red circle')), invalid, /for ids but received "a red circle"/],
    ['floats', () => textEncoder.forward(Tensor.zeros([1, 77])), invalid, /for ids but received Tensor f32 \[1, 77\]/],
    ['one dimension', () => textEncoder.forward(ids([77])), invalid, /for ids/],
    ['too many positions', () => textEncoder.forward(ids([1, 78])), invalid, /78/],
    ['an id beyond the vocabulary', () => textEncoder.forward(ids([1, 4], 60_000)), invalid, /60000/],
    ['a negative id', () => textEncoder.forward(ids([1, 4], -1)), invalid, /-1/],
    ['another width', () => textEncoder.finalLayerNorm(Tensor.zeros([1, 77, 65])), invalid, /65/],
  ]
  await assertRefused(t, refusals)
})

test('the UNet refuses tensors that do not fit', async (t) => {
  const forward = (x: unknown, at: unknown, options: unknown) => () => unet.forward(wrong(x), wrong(at), wrong(options))
  const zeros = (...shape: number[]): Tensor => Tensor.zeros(shape)
  const refusals: Refusal[] = [
    ['no tensor', forward([1], 1, { encoderHiddenStates }), invalid, /for sample but received \[1\]/],
    [
      'another number of channels',
      forward(zeros(1, 3, 16, 16), 1, { encoderHiddenStates }),
      invalid,
      /for sample but received Tensor f32 \[1, 3/,
    ],
    ['three dimensions', forward(zeros(4, 16, 16), 1, { encoderHiddenStates }), invalid, /for sample/],
    ['NaN as timestep', forward(sample, Number.NaN, { encoderHiddenStates }), invalid, /for timestep but received NaN/],
    ['text as timestep', forward(sample, 'last', { encoderHiddenStates }), invalid, /for timestep but received "last"/],
    ['two timesteps for one sample', forward(sample, [1, 2], { encoderHiddenStates }), invalid, /for timestep but received \[1, 2\]/],
    ['no options', forward(sample, 1, undefined), invalid, /for encoderHiddenStates but received undefined/],
    ['another width', forward(sample, 1, { encoderHiddenStates: zeros(1, 77, 768) }), invalid, /768/],
    ['another batch', forward(sample, 1, { encoderHiddenStates: zeros(2, 77, 64) }), invalid, /[Bb]atch|\[2, 77, 64\]|2/],
    ['an empty picture', forward(zeros(1, 4, 0, 0), 1, { encoderHiddenStates }), invalid, /sample/],
    [
      'residuals that do not fit',
      forward(sample, 1, { encoderHiddenStates, midBlockAdditionalResidual: zeros(1, 1, 1, 1) }),
      invalid,
      /esidual/,
    ],
    ['too few residuals', forward(sample, 1, { encoderHiddenStates, downBlockAdditionalResiduals: [sample] }), invalid, /esidual/],
    ['NaN in FreeU', () => unet.enableFreeU({ s1: Number.NaN, s2: 1, b1: 1, b2: 1 }), invalid, /for s1 but received NaN/],
    ['FreeU without factors', () => unet.enableFreeU(wrong(undefined)), invalid, /for options but received undefined/],
  ]
  await assertRefused(t, refusals)
})

test('the VAE refuses tensors that do not fit', async (t) => {
  const refusals: Refusal[] = [
    ['no tensor', () => vae.encode(wrong('circle.png')), invalid, /for x but received "circle.png"/],
    ['four channels of pixels', () => vae.encode(Tensor.zeros([1, 4, 16, 16])), invalid, /for x but received Tensor f32 \[1, 4, 16, 16\]/],
    [
      'three channels of latents',
      () => vae.decode(Tensor.zeros([1, 3, 16, 16])),
      invalid,
      /for z but received Tensor f32 \[1, 3, 16, 16\]/,
    ],
    ['an overlap of the whole tile', () => vae.enableTiling({ tileOverlapFactor: 1 }), invalid, /for tileOverlapFactor but received 1/],
    ['a tile smaller than a latent', () => vae.enableTiling({ tileSampleMinSize: 4 }), invalid, /for tileSampleMinSize but received 4/],
    ['odd moments', () => new DiagonalGaussianDistribution(Tensor.zeros([1, 3, 2, 2])), invalid, /for moments/],
  ]
  await assertRefused(t, refusals)
})

test('a disposed model is refused', async (t) => {
  const gone = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
  gone.dispose()
  gone.dispose()
  await assertRefused(t, [
    ['forward', () => gone.forward(sample, 1, { encoderHiddenStates }), 'ERR_DISPOSED', /UNet2DConditionModel.*disposed/],
  ])
})
