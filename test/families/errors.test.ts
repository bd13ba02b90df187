import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  ControlNetModel,
  controlNet,
  freeU,
  InvalidArgumentError,
  IPAdapter,
  imagePrompt,
  LatentConsistencyModelImg2ImgPipeline,
  LatentConsistencyModelPipeline,
  PerturbedAttentionGuidance,
  StableDiffusionControlNetPipeline,
  StableDiffusionInstructPix2PixPipeline,
  StableDiffusionLatentUpscalePipeline,
  StableDiffusionPipeline,
  StableDiffusionXLImg2ImgPipeline,
  T2IAdapter,
  Tensor,
  t2iAdapter,
} from '../../ts/index.ts'
import { parityPack } from '../parity/pack.ts'
import { adapters, imageEncoder, modelFolder } from './goldens.ts'

const base = join(parityPack(), 'pipelines', 'tiny-sd15')
const pipe = await StableDiffusionPipeline.fromPretrained(base)
const net = await ControlNetModel.fromPretrained(modelFolder('controlnet'))
const pooled = await ControlNetModel.fromPretrained(modelFolder('controlnet_bgr_pooled'))
const adapter = await T2IAdapter.fromPretrained(modelFolder('t2i_adapter_half'))
const [ip] = (await adapters('mixed', 1)) as [IPAdapter]
const encoder = await imageEncoder()
const image = { width: 16, height: 16, data: new Uint8Array(16 * 16 * 3) }
const call = { prompt: 'a cat', numInferenceSteps: 1 }
const given = <T>(value: unknown): T => value as T

test('values refuse what is no model and what is out of range, at once', (t) => {
  const refusals: [() => unknown, RegExp][] = [
    [() => controlNet(given('net'), { image }), /a ControlNetModel for model/],
    [() => controlNet(net, { image, start: 0.8, end: 0.4 }), /a number below end \(0.4\) for start/],
    [() => controlNet(net, { image, end: 1.2 }), /for end/],
    [() => controlNet(net, { image, scale: [] }), /for scale/],
    [() => controlNet(net, { image, guessMode: given('yes') }), /for guessMode/],
    [() => t2iAdapter(given(net), { image }), /a T2IAdapter for model/],
    [() => imagePrompt(given(net), { image }), /an IPAdapter for adapter/],
    [() => imagePrompt(ip, { imageEncoder: encoder }), /an image, a negativeImage or embeddings/],
    [() => imagePrompt(ip, { image, embeds: Tensor.zeros([1, 1, 24]) }), /at most one of image and embeds/],
    [() => imagePrompt(ip, { image, scale: given({ side: 1 }) }), /one of down, mid, up for a key of scale/],
    [() => freeU({ s1: 1, s2: 1, b1: 1, b2: Number.NaN }), /for b2/],
    [() => new PerturbedAttentionGuidance({ layers: [] }), /for layers/],
    [() => new PerturbedAttentionGuidance({ pagScale: -1 }), /for pagScale/],
  ]
  for (const [make, message] of refusals) {
    t.throws(make, { instanceOf: InvalidArgumentError, message })
  }
})

test('parts that do not fit the UNet are named', async (t) => {
  const other = await IPAdapter.fromWeights(
    Object.fromEntries(
      Object.entries({
        'image_proj.proj.weight': [32, 24],
        'image_proj.proj.bias': [32],
        'image_proj.norm.weight': [8],
        'image_proj.norm.bias': [8],
        'ip_adapter.1.to_k_ip.weight': [16, 8],
        'ip_adapter.1.to_v_ip.weight': [16, 8],
      }).map(([key, shape]) => [key, Tensor.zeros(shape)]),
    ),
  )
  const wide = await StableDiffusionPipeline.fromPretrained()
  const refusals: [object, RegExp][] = [
    [{ conditions: [imagePrompt(other, { imageEncoder: encoder, image })] }, /tokens of width 32.*from the IP-Adapter but received 8/],
    [{ conditions: [imagePrompt(ip, { image })] }, /a CLIPVisionModelWithProjection beside images for imageEncoder/],
    [{ conditions: [imagePrompt(ip, { imageEncoder: encoder, image, masks: [image, image] })] }, /one mask for masks/],
    [{ conditions: [imagePrompt(ip, { imageEncoder: encoder, image, scale: [1, 2] })] }, /one for each of \d+ cross-attention layers/],
    [
      { conditions: [imagePrompt(ip, { imageEncoder: encoder, image, scale: { down: { block_7: 1 } } })] },
      /a block with cross-attention for scale.down/,
    ],
    [{ conditions: [controlNet(net, { image: [image, image] })] }, /one image, or one for each of 1 prompts/],
    [{ conditions: ['edges'] }, /an array of conditions for conditions/],
    [{ guidance: 7 }, /a Guidance for guidance/],
    [{ guidance: new PerturbedAttentionGuidance({ layers: 'down.block_0' }) }, /a part of a name such as .* for layers/],
    [{ ipAdapterImage: image }, /nothing, as no IP-Adapter is loaded, for ipAdapterImage/],
  ]
  for (const [options, message] of refusals) {
    await t.throwsAsync(async () => pipe.generate({ ...call, ...options }), { instanceOf: InvalidArgumentError, message })
  }
  for (const condition of [controlNet(net, { image }), t2iAdapter(adapter, { image })]) {
    await t.throwsAsync(async () => wide.generate({ ...call, conditions: [condition] }), {
      instanceOf: InvalidArgumentError,
      message: /as the UNet.*(of the ControlNet|of the T2I-Adapter) but received/,
    })
  }
})

test('ControlNet pipelines count images, scales and spans', async (t) => {
  const one = StableDiffusionControlNetPipeline.fromPipe(pipe, { controlnet: net })
  const two = StableDiffusionControlNetPipeline.fromPipe(pipe, { controlnet: [net, net] })
  const refusals: [() => PromiseLike<unknown>, RegExp][] = [
    [() => one.generate(given({ ...call })), /for image/],
    [() => two.generate({ ...call, image }), /an array with one entry for each of 2 ControlNets for image/],
    [() => two.generate({ ...call, image: [image] }), /one entry for each of 2 ControlNets/],
    [
      () => two.generate({ ...call, image: [image, image], controlnetConditioningScale: [1] }),
      /one for each of 2 ControlNets, for controlnetConditioningScale/,
    ],
    [() => two.generate({ ...call, image: [image, image], controlGuidanceEnd: [1, 0.5, 1] }), /controlGuidanceEnd/],
    [() => one.generate({ ...call, image, controlGuidanceStart: 0.6, controlGuidanceEnd: 0.6 }), /a number below end/],
    [
      () => StableDiffusionControlNetPipeline.fromPipe(pipe, { controlnet: [pooled, net] }).generate({ ...call, image: [image, image] }),
      /global_pool_conditions first/,
    ],
  ]
  for (const [run, message] of refusals) {
    await t.throwsAsync(async () => run(), { instanceOf: InvalidArgumentError, message })
  }
  t.throws(() => StableDiffusionControlNetPipeline.fromPipe(pipe, { controlnet: [] }), {
    message: /a ControlNetModel, or a non-empty array of them for controlnet/,
  })
})

test('pipelines whose guidance is part of the model take no other', async (t) => {
  const guidance = new PerturbedAttentionGuidance()
  const runs = [
    () => LatentConsistencyModelPipeline.fromPipe(pipe).generate(given({ ...call, guidance })),
    () => LatentConsistencyModelImg2ImgPipeline.fromPipe(pipe).generate(given({ ...call, image, guidance })),
    () => StableDiffusionInstructPix2PixPipeline.fromPipe(pipe).generate(given({ ...call, image, guidance })),
    () => StableDiffusionLatentUpscalePipeline.fromPipe(pipe).generate(given({ ...call, image, guidance })),
  ]
  for (const run of runs) {
    await t.throwsAsync(async () => run(), { instanceOf: InvalidArgumentError, message: /guidance/ })
  }
})

test('loaded IP-Adapters want images, one entry for each, and scales for each', async (t) => {
  const own = StableDiffusionPipeline.fromPipe(pipe, { imageEncoder: encoder })
  t.throws(() => own.setIpAdapterScale(1), { message: /a loaded IP-Adapter for scale/ })
  await own.loadIpAdapter([ip, ip])
  const refusals: [object, RegExp][] = [
    [{}, /an image, as an IP-Adapter is loaded, for ipAdapterImage/],
    [{ ipAdapterImage: [image] }, /one entry for each of 2 IP-Adapters for ipAdapterImage/],
    [{ ipAdapterImageEmbeds: [Tensor.zeros([1, 1, 24]), Tensor.zeros([1, 1, 24])] }, /an even number of rows/],
  ]
  for (const [options, message] of refusals) {
    await t.throwsAsync(async () => own.generate({ ...call, ...options }), { instanceOf: InvalidArgumentError, message })
  }
  t.throws(() => own.setIpAdapterScale([1, 1, 1]), { message: /one for each of 2 adapters/ })
  own.unloadIpAdapter()
  t.false(ip.disposed, 'a given adapter stays the caller’s')
  await t.notThrowsAsync(async () => own.generate(call))
})

const xl = join(parityPack(), 'pipelines', 'tiny-sdxl')
const withXl = existsSync(xl) ? test : test.skip

withXl('a refiner without latents is refused, and a ControlNet of SD 1.x for SDXL', async (t) => {
  const refiner = await StableDiffusionXLImg2ImgPipeline.fromPretrained(xl)
  await t.throwsAsync(async () => refiner.generate({ ...call, image, denoisingStart: 0.8 }), {
    instanceOf: InvalidArgumentError,
    message: /latents of the first model beside denoisingStart for image/,
  })
  await t.throwsAsync(async () => refiner.generate({ ...call, image, strength: 1, conditions: [controlNet(net, { image })] }), {
    instanceOf: InvalidArgumentError,
    message: /Expected cross_attention_dim 72, as the UNet has, for the config of the ControlNet but received 32/,
  })
})
