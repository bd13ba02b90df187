import { join } from 'node:path'
import test from 'ava'
import {
  ControlNetUnionModel,
  controlNetUnion,
  Generator,
  StableDiffusionXLControlNetUnionPipeline,
  StableDiffusionXLPipeline,
  type Tensor,
} from '../../ts/index.ts'
import { parityPack } from '../parity/pack.ts'
import { distance, modelFolder } from './goldens.ts'

/** Two ways to the same numbers differ by the order of f32 sums only. */
const SAME = 1e-5

const pipe = await StableDiffusionXLPipeline.fromPretrained(join(parityPack(), 'pipelines', 'tiny-sdxl'))
const net = await ControlNetUnionModel.fromPretrained(modelFolder('$families/controlnet_union'))
const one = StableDiffusionXLControlNetUnionPipeline.fromPipe(pipe, { controlnet: net })
const two = StableDiffusionXLControlNetUnionPipeline.fromPipe(pipe, { controlnet: [net, net] })
const [grey, dots] = [picture(() => 128), picture((i) => (i % 7 === 0 ? 255 : 0))]
const controlImage = [grey, dots]

function picture(at: (i: number) => number): { width: number; height: number; data: Uint8Array } {
  return { width: 16, height: 16, data: Uint8Array.from({ length: 16 * 16 * 3 }, (_, i) => at(i)) }
}

async function latents(from: { generate(options: never): PromiseLike<unknown> }, options: object): Promise<Tensor> {
  const common = { prompt: 'a red cat', numInferenceSteps: 4, height: 16, width: 16, generator: new Generator(3), outputType: 'latent' }
  const result = await from.generate({ ...common, ...options } as never)
  return (result as { latents: Tensor }).latents
}

test('several union nets are the sum of each', async (t) => {
  const control = { controlImage, controlMode: [1, 4], controlnetConditioningScale: [0.7, 0.4], controlGuidanceEnd: [0.5, 1] }
  const composed = [
    controlNetUnion(net, { images: [grey], modes: [1], scale: 0.7, end: 0.5 }),
    controlNetUnion(net, { images: [dots], modes: [4], scale: 0.4 }),
  ]
  t.true(distance(await latents(two, control), await latents(pipe, { conditions: composed })) < SAME)
})

test('an image of a union net counts nothing outside of its span', async (t) => {
  const both = { controlImage, controlMode: [1, 4] }
  const never = { ...both, controlGuidanceStart: [0, 0.9], controlGuidanceEnd: [1, 1] }
  const muted = { ...both, controlnetConditioningScale: [1, 0] }
  t.true(distance(await latents(one, never), await latents(one, muted)) < SAME)
  const turns = await latents(one, { ...both, controlGuidanceStart: [0, 0.5], controlGuidanceEnd: [0.5, 1] })
  t.true(distance(turns, await latents(one, both)) > 1e-3)
})

test('lists that do not fit the nets or images are refused', async (t) => {
  const call = { controlImage, controlMode: [1, 4] }
  const refusals: [object, RegExp][] = [
    [{ ...call, controlMode: [1, 4, 5] }, /one value, or one for each of 2 ControlNets, for controlMode/],
    [{ ...call, controlnetConditioningScale: [1, 1, 1] }, /2 ControlNets, for controlnetConditioningScale/],
    [{ ...call, controlImage: [grey] }, /one entry for each of 2 ControlNets for controlImage/],
  ]
  for (const [options, message] of refusals) {
    await t.throwsAsync(latents(two, options), { code: 'ERR_INVALID_ARGUMENT', message })
  }
  await t.throwsAsync(latents(one, { ...call, controlGuidanceStart: [0, 0.1, 0.2] }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /one for each of 2 images, for start/,
  })
})
