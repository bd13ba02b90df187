import { existsSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import {
  AutoencoderTiny,
  CLIPVisionModel,
  CLIPVisionModelWithProjection,
  ControlNetModel,
  InvalidArgumentError,
  T2IAdapter,
  Tensor,
} from '../../ts/index.ts'
import { distance, modelFolder } from './goldens.ts'

/** As of the golden pack for networks in f32. */
const TOLERANCE = 1e-4

const goldens = (name: string): Promise<Record<string, Tensor>> => Tensor.loadSafetensors(join(modelFolder(name), 'io.safetensors'))
const stored = (name: string): typeof test => (existsSync(modelFolder(name)) ? test : (test.skip as typeof test))

/** A tensor of one stored call, whatever it is filed under. */
function of(io: Record<string, Tensor>, call: string, name: string): Tensor {
  const key = Object.keys(io).find((path) => path.startsWith(call) && path.endsWith(name))
  if (key === undefined) {
    throw new Error(`no ${name} of ${call} among ${Object.keys(io).join(', ')}`)
  }
  return io[key] as Tensor
}

stored('taesd')('the tiny autoencoder encodes and decodes as the reference', async (t) => {
  const io = await goldens('taesd')
  await using vae = await AutoencoderTiny.fromPretrained(modelFolder('taesd'))
  const { latents } = await vae.encode(of(io, 'call1', '/image'))
  t.true(distance(latents, of(io, 'call1', '/encoded')) < TOLERANCE)
  const { sample } = await vae.decode(of(io, 'call1', '/latents'))
  t.true(distance(sample, of(io, 'call1', '/decoded')) < TOLERANCE)
  await t.throwsAsync(vae.decode(Tensor.zeros([1, 3, 4, 4])), {
    instanceOf: InvalidArgumentError,
    message: /\[batch, 4, height, width\] for z/,
  })
})

stored('clip_vision_projection')(
  'the image encoder gives embeddings and hidden states, without projection the pooled class token',
  async (t) => {
    const io = await goldens('clip_vision_projection')
    await using encoder = await CLIPVisionModelWithProjection.fromPretrained(modelFolder('clip_vision_projection'))
    const pixels = of(io, 'call1', '/pixel_values')
    const output = await encoder.forward(pixels, { outputHiddenStates: true })
    t.true(distance(output.imageEmbeds, of(io, 'call1', '/image_embeds')) < TOLERANCE)
    t.true(distance(output.hiddenStates?.at(-2), of(io, 'call1', '/hidden_states.2')) < TOLERANCE)
    await using plain = await CLIPVisionModel.fromPretrained(modelFolder('clip_vision_projection'))
    const pooled = await plain.forward(pixels)
    t.deepEqual(pooled.poolerOutput.toArray(), output.poolerOutput.toArray())
    t.false('imageEmbeds' in pooled)
    await t.throwsAsync(encoder.forward(Tensor.zeros([1, 3, 8, 8])), {
      instanceOf: InvalidArgumentError,
      message: /\[batch, 3, 32, 32\] for pixelValues/,
    })
  },
)

test('ControlNet and T2I-Adapter name the argument that does not fit', async (t) => {
  await using net = await ControlNetModel.fromPretrained(modelFolder('controlnet'))
  await using adapter = await T2IAdapter.fromPretrained(modelFolder('t2i_adapter_half'))
  const given = { encoderHiddenStates: Tensor.zeros([1, 77, 32]), controlnetCond: Tensor.zeros([1, 3, 16, 16]) }
  const sample = Tensor.zeros([1, 4, 8, 8])
  await t.throwsAsync(net.forward(Tensor.zeros([1, 3, 8, 8]), 1, given), { instanceOf: InvalidArgumentError, message: /for sample/ })
  await t.throwsAsync(net.forward(sample, 1, { ...given, controlnetCond: Tensor.zeros([1, 3, 12, 12]) }), {
    instanceOf: InvalidArgumentError,
    message: /\(1, 3, 16, 16\) for controlnet_cond/,
  })
  await t.throwsAsync(net.forward(sample, 1, { ...given, conditioningScale: Number.NaN }), { message: /for conditioningScale/ })
  await t.throwsAsync(adapter.forward(Tensor.zeros([1, 3, 15, 16])), { instanceOf: InvalidArgumentError, message: /sides divisible by 2/ })
})
