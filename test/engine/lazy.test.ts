import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  AutoencoderKL,
  AutoencoderTiny,
  CLIPTextModel,
  CLIPTokenizer,
  CLIPVisionModelWithProjection,
  ControlNetModel,
  IPAdapter,
  StableDiffusionPipeline,
  T2IAdapter,
  Tensor,
  UNet2DConditionModel,
} from '../../ts/index.ts'
import { modelFolder } from '../families/goldens.ts'
import { parityPack } from '../parity/pack.ts'

const lazy = { loading: 'lazy' } as const
const families = fileURLToPath(new URL('../fixtures/families', import.meta.url))

type Lazy = { readonly isHeld: boolean; dispose(): void }
/** A network that was loaded lazily, and its first use. */
type Use = [network: Lazy, use: () => Promise<unknown>]

const uses: Record<string, () => Promise<Use>> = {
  'a ControlNet': async () => {
    const net = await ControlNetModel.fromPretrained(modelFolder('controlnet'), lazy)
    const { in_channels: channels, cross_attention_dim: width } = net.config
    const encoderHiddenStates = Tensor.zeros([1, 7, Number(width)])
    return [
      net,
      () => net.forward(Tensor.zeros([1, channels, 8, 8]), 1, { encoderHiddenStates, controlnetCond: Tensor.zeros([1, 3, 16, 16]) }),
    ]
  },
  'an image encoder': async () => {
    const encoder = await CLIPVisionModelWithProjection.fromPretrained(modelFolder('clip_vision_projection'), lazy)
    const side = encoder.config.image_size
    return [encoder, () => encoder.forward(Tensor.zeros([1, 3, side, side]))]
  },
  'a T2I-Adapter': async () => {
    const adapter = await T2IAdapter.fromPretrained(modelFolder('$families/t2i_adapter_xl'), lazy)
    return [adapter, () => adapter.forward(Tensor.zeros([1, 3, 32, 32]))]
  },
  'an IP-Adapter': async () => {
    const adapter = await IPAdapter.fromPretrained(families, { weightName: 'mixed.ip_adapter_0.safetensors', ...lazy })
    return [adapter, () => adapter.project(Tensor.zeros([1, 1, 24]))]
  },
  'a tiny autoencoder': async () => {
    const vae = await AutoencoderTiny.fromPretrained(modelFolder('taesd'), lazy)
    return [vae, () => vae.decode(Tensor.zeros([1, 4, 4, 4]))]
  },
  'a UNet': async () => {
    const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet', ...lazy })
    const encoderHiddenStates = Tensor.zeros([1, 77, Number(unet.config.cross_attention_dim)])
    return [unet, () => unet.forward(Tensor.zeros([1, 4, 8, 8]), 1, { encoderHiddenStates })]
  },
  'the table of a text encoder': async () => {
    const encoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder', ...lazy })
    return [encoder, async () => (await encoder.tokenEmbeddings()).dispose()]
  },
}

for (const [name, load] of Object.entries(uses)) {
  test.serial(`the first use of ${name} that is loaded lazily reads it on the engine thread`, async (t) => {
    const [network, use] = await load()
    // The estimates below count garbage until it is collected.
    t.teardown(() => network.dispose())
    t.false(network.isHeld)
    // While the engine thread works on something else, only this thread could read the weights.
    await using vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
    const busy = vae.decode(Tensor.zeros([1, 4, 64, 64]))
    const first = use()
    t.false(network.isHeld)
    const [decoded] = await Promise.all([busy, first])
    decoded.sample.dispose()
    t.true(network.isHeld)
  })
}

test.serial('added tokens wait with a text encoder that is loaded lazily, and their mistakes do not', async (t) => {
  await using encoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder', ...lazy })
  await using eager = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
  const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
  const { vocab_size: size, hidden_size: width } = encoder.config
  const rows = Tensor.full([1, width], 0.25)
  t.throws(() => encoder.withTokenEmbeddings([size + 5], rows))
  const ids = tokenizer.encode('a star')
  await using late = encoder.withTokenEmbeddings([size], rows)
  await using early = eager.withTokenEmbeddings([size], rows)
  t.is(late.config.vocab_size, size + 1)
  t.false(encoder.isHeld)
  const [a, b] = [await late.forward(ids), await early.forward(ids)]
  t.true(a.lastHiddenState.equal(b.lastHiddenState))
  using table = await late.tokenEmbeddings()
  using row = table.index(size)
  t.deepEqual(row.toArray(), rows.index(0).toArray())
})

test.serial('a UNet reads an IP-Adapter of its call on the engine thread, and an estimate reads none', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained(join(parityPack(), 'pipelines', 'tiny-sd15'), lazy)
  await using adapter = await IPAdapter.fromPretrained(families, { weightName: 'mixed.ip_adapter_0.safetensors', ...lazy })
  const encoderHiddenStates = Tensor.zeros([1, 7, Number(pipe.unet.config.cross_attention_dim)])
  const imagePrompts = [{ adapter, tokens: Tensor.zeros([1, 1, 4, Number(pipe.unet.config.cross_attention_dim)]) }]
  const sample = Tensor.zeros([1, 4, 8, 8])
  await pipe.unet.forwardMemory(sample, 1, { encoderHiddenStates, imagePrompts })
  t.deepEqual([pipe.unet.isHeld, adapter.isHeld], [false, false])
  await pipe.unet.forward(sample, 1, { encoderHiddenStates, imagePrompts })
  t.deepEqual([pipe.unet.isHeld, adapter.isHeld], [true, true])
})

test.serial('weights that a run uses are unloaded when the last run needs them no more', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes', lazy)
  const call = { prompt: 'a star', numInferenceSteps: 3, width: 64, height: 64, seed: 1 }
  const free = (await pipe.generate(call)).images[0]
  const held: boolean[] = []
  const callbackOnStepEnd = async (): Promise<void> => {
    pipe.unet.unload()
    // After whatever the engine thread had to do before.
    using zeros = Tensor.zeros([1, 4, 2, 2])
    await pipe.vae.decode(zeros)
    held.push(pipe.unet.isHeld)
  }
  const picture = (await pipe.generate({ ...call, callbackOnStepEnd })).images[0]
  t.deepEqual(held, [true, true, true])
  using zeros = Tensor.zeros([1, 4, 2, 2])
  await pipe.vae.decode(zeros)
  t.false(pipe.unet.isHeld)
  t.deepEqual(picture.rgba(), free.rgba())
})

test.serial('a run under a limit leaves the networks of another run', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
  const call = { prompt: 'a star', numInferenceSteps: 3, seed: 1 }
  const free = (await pipe.generate(call)).images[0]
  const { peak } = await pipe.estimate()
  // Little enough to unload whatever rests, as test/pipelines/memory.test.ts shows of one run.
  const memory = peak - pipe.textEncoder.unloadableBytes - pipe.unet.unloadableBytes / 2
  const held: boolean[] = []
  const roomy = pipe.generate({
    ...call,
    callbackOnStepEnd: async () => {
      const limited = (await pipe.generate({ ...call, memory })).images[0]
      t.deepEqual(limited.rgba(), free.rgba())
      held.push(pipe.unet.isHeld && pipe.vae.isHeld && pipe.textEncoder.isHeld)
    },
  })
  t.deepEqual((await roomy).images[0].rgba(), free.rgba())
  t.deepEqual(held, [true, true, true])
  using zeros = Tensor.zeros([1, 4, 2, 2])
  await pipe.vae.decode(zeros)
  t.false(pipe.unet.isHeld)
})
