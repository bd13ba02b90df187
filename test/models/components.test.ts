import test from 'ava'
import {
  AutoencoderKL,
  CLIPTextModel,
  CLIPTextModelWithProjection,
  CLIPTokenizer,
  Generator,
  type LoadProgress,
  Tensor,
  UNet2DConditionModel,
} from '../../ts/index.ts'

const [tokenizer, textEncoder, unet, vae] = await Promise.all([
  CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' }),
  CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' }),
  UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' }),
  AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' }),
])

const worst = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item()

test('the tokenizer gives ids, mask and what was lost', (t) => {
  const { inputIds, attentionMask, truncated } = tokenizer.encode(['a red circle', 'x '.repeat(100)], {
    padding: 'max_length',
    truncation: true,
  })
  t.deepEqual(inputIds.shape, [2, 77])
  t.is(inputIds.dtype, 'i64')
  t.deepEqual(inputIds.index(0).slice(0, 0, 5).tolist(), [49406, 320, 736, 7117, 49407])
  t.is(attentionMask.index(0).sum().item(), 5)
  t.is(truncated[0], '')
  t.is(truncated[1], Array.from({ length: 25 }, () => 'x').join(' '))
  t.is(tokenizer.decode(inputIds.index(0), { skipSpecialTokens: true }), 'a red circle')
  t.deepEqual(tokenizer.batchDecode([[320, 736]]), ['a red'])
  t.deepEqual(tokenizer.tokenize('red circle'), ['red</w>', 'circle</w>'])
  t.deepEqual(tokenizer.convertTokensToIds(['red</w>']), tokenizer.encode('red', { addSpecialTokens: false }).inputIds.index(0).tolist())
})

test('tokens added to a clone stay in the clone', (t) => {
  const copy = tokenizer.clone()
  t.is(copy.addTokens(['<shape>']), 1)
  t.is(copy.length, tokenizer.length + 1)
  t.is(copy.encode('<shape>', { addSpecialTokens: false }).inputIds.item(), copy.length - 1)
})

test('the text encoder gives all hidden states when asked', async (t) => {
  const ids = tokenizer.encode(['a red circle', ''], { padding: 'max_length' })
  const output = await textEncoder.forward(ids, { outputHiddenStates: true })
  t.deepEqual(output.lastHiddenState.shape, [2, 77, 64])
  t.deepEqual(output.poolerOutput.shape, [2, 64])
  t.is(output.hiddenStates?.length, textEncoder.config.num_hidden_layers + 1)
  t.is((await textEncoder.forward(ids)).hiddenStates, undefined)
  const last = output.hiddenStates?.at(-1)
  t.true(last !== undefined && worst(await textEncoder.finalLayerNorm(last), output.lastHiddenState) < 1e-5)
})

test('a batch gives what its items give one by one', async (t) => {
  const sample = new Generator(3).randn([2, 4, 16, 16])
  const { lastHiddenState } = await textEncoder.forward(tokenizer.encode(['a red circle', 'a blue square'], { padding: 'max_length' }))
  const together = (await unet.forward(sample, [999, 10], { encoderHiddenStates: lastHiddenState })).sample
  for (const [i, at] of [999, 10].entries()) {
    const alone = await unet.forward(sample.slice(0, i, i + 1), at, { encoderHiddenStates: lastHiddenState.slice(0, i, i + 1) })
    t.true(worst(alone.sample, together.slice(0, i, i + 1)) < 1e-4) // sums in another order
  }
  const byTensor = await unet.forward(sample, Tensor.from([999, 10], undefined, 'i64'), { encoderHiddenStates: lastHiddenState })
  t.true(worst(byTensor.sample, together) < 1e-4)
})

test('what the autoencoder encodes it decodes', async (t) => {
  const picture = Tensor.full([1, 3, 64, 64], 0.5)
  const { latentDist } = await vae.encode(picture)
  t.deepEqual(latentDist.mean.shape, [1, 4, 8, 8])
  t.true(latentDist.mode().equal(latentDist.mean))
  t.true(latentDist.sample(new Generator(1)).equal(latentDist.sample(new Generator(1))))
  t.deepEqual(latentDist.kl().shape, [1])
  const { sample } = await vae.decode(latentDist.mode())
  t.deepEqual(sample.shape, [1, 3, 64, 64])
  t.true(sample.sub(picture).abs().mean().item() < 0.2)
})

test.serial('slicing changes nothing but memory', async (t) => {
  const latents = new Generator(1).randn([2, 4, 8, 8])
  const whole = (await vae.decode(latents)).sample
  vae.enableSlicing()
  t.true(worst((await vae.decode(latents)).sample, whole) < 1e-4)
  vae.disableSlicing()
})

test.serial('FreeU changes the prediction until it is turned off', async (t) => {
  const sample = new Generator(4).randn([1, 4, 16, 16])
  const encoderHiddenStates = Tensor.zeros([1, 77, 64])
  const predict = async (): Promise<Tensor> => (await unet.forward(sample, 500, { encoderHiddenStates })).sample
  const plain = await predict()
  unet.enableFreeU({ s1: 0.9, s2: 0.2, b1: 1.2, b2: 1.4 })
  t.true(worst(await predict(), plain) > 1e-3)
  unet.disableFreeU()
  t.true((await predict()).equal(plain))
})

test('loading reports bytes up to the whole', async (t) => {
  const events: LoadProgress[] = []
  const loaded = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet', onProgress: (event) => events.push(event) })
  const last = events.at(-1)
  t.true(events.length > 0 && events.every((event) => event.component === 'unet' && event.loaded <= event.total))
  t.is(last?.loaded, last?.total)
  loaded.dispose()
})

test('a listener that throws does not stop the loading', async (t) => {
  const onProgress = (): never => {
    throw new Error('listener')
  }
  const loaded = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae', onProgress })
  t.false(loaded.disposed)
  loaded.dispose()
})

test('weights in half precision give nearly the same', async (t) => {
  const sample = new Generator(4).randn([1, 4, 16, 16])
  const encoderHiddenStates = new Generator(5).randn([1, 77, 64])
  const exact = (await unet.forward(sample, 500, { encoderHiddenStates })).sample
  for (const dtype of ['f16', 'bf16'] as const) {
    await using small = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet', dtype })
    t.is(small.dtype, dtype)
    t.true(worst((await small.forward(sample, 500, { encoderHiddenStates })).sample, exact) < 0.2, dtype)
  }
})

test('models are built from values, too', async (t) => {
  const weights = await Tensor.loadSafetensors('models/shapes/unet/diffusion_pytorch_model.safetensors')
  const { config } = unet
  await using built = await UNet2DConditionModel.fromWeights(config, weights)
  const sample = new Generator(4).randn([1, 4, 16, 16])
  const encoderHiddenStates = new Generator(5).randn([1, 77, 64])
  const output = await built.forward(sample, 500, { encoderHiddenStates })
  t.true(output.sample.equal((await unet.forward(sample, 500, { encoderHiddenStates })).sample))
  delete weights['conv_in.weight']
  await t.throwsAsync(UNet2DConditionModel.fromWeights(config, weights), { code: 'ERR_WEIGHTS', message: /conv_in\.weight/ })
})

test('weights that do not fit the config name the first keys', async (t) => {
  const weights = await Tensor.loadSafetensors('models/shapes/text_encoder/model.safetensors')
  const { config } = textEncoder
  await t.throwsAsync(CLIPTextModel.fromWeights({ ...config, hidden_size: 128 }, weights), {
    code: 'ERR_WEIGHTS',
    message: /do not fit: .*token_embedding\.weight \(expected \[49408, 128\]/,
  })
  await t.throwsAsync(CLIPTextModelWithProjection.fromWeights(config, weights), { code: 'ERR_WEIGHTS', message: /text_projection\.weight/ })
  await t.throwsAsync(CLIPTextModel.fromWeights({ ...config, hidden_act: 'tanh' }, weights), {
    code: 'ERR_CONFIG',
    message: /hidden_act.*tanh/,
  })
})

test('a disposed model is refused, and running work ends well', async (t) => {
  const loaded = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
  const sample = Tensor.zeros([1, 4, 16, 16])
  const encoderHiddenStates = Tensor.zeros([1, 77, 64])
  const running = loaded.forward(sample, 1, { encoderHiddenStates })
  loaded.dispose()
  sample.dispose()
  t.deepEqual((await running).sample.shape, [1, 4, 16, 16])
  t.true(loaded.disposed)
  await t.throwsAsync(loaded.forward(Tensor.zeros([1, 4, 16, 16]), 1, { encoderHiddenStates }), {
    code: 'ERR_DISPOSED',
    message: 'Expected a UNet2DConditionModel in use for this call but received a disposed one',
  })
})
