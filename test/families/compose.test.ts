import { join } from 'node:path'
import test from 'ava'
import {
  AutoPipelineForText2Image,
  ClassifierFreeGuidance,
  type Condition,
  ControlNetModel,
  controlNet,
  freeU,
  type GenerateResult,
  Generator,
  imagePrompt,
  PerturbedAttentionGuidance,
  StableDiffusionControlNetPipeline,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionPAGPipeline,
  StableDiffusionPipeline,
  sequential,
  T2IAdapter,
  Tensor,
  t2iAdapter,
  type UNetStep,
} from '../../ts/index.ts'
import { parityPack } from '../parity/pack.ts'
import { adapters, distance, familyCases, imageEncoder, modelFolder, storedPicture } from './goldens.ts'

/** Two ways to the same numbers differ by the order of f32 sums only. */
const SAME = 1e-5

const base = join(parityPack(), 'pipelines', 'tiny-sd15')
const pipe = await StableDiffusionPipeline.fromPretrained(base)
const net = await ControlNetModel.fromPretrained(modelFolder('controlnet'))
const adapter = await T2IAdapter.fromPretrained(modelFolder('t2i_adapter_half'))
const encoder = await imageEncoder()
const { tensors } = await familyCases()
const picture = storedPicture(tensors['mixed/image'])
const [first, second] = [storedPicture(tensors['ip_negative/positive']), storedPicture(tensors['ip_negative/negative'])]
const common = { prompt: 'a red cat on a chair', numInferenceSteps: 3, height: 16, width: 16 }

type Generating = { generate(options: never): PromiseLike<GenerateResult> }

async function latents(options: Record<string, unknown>, from: Generating = pipe): Promise<Tensor> {
  const given = { ...common, generator: new Generator(3), ...options, outputType: 'latent' }
  const { latents: made } = await from.generate(given as never)
  return made as Tensor
}

/** What of several conditions a step gets, put together by hand. */
function byHand(conditions: readonly Condition[]): Condition {
  return {
    async prepare(call, scope) {
      const ready = await Promise.all(conditions.map((condition) => condition.prepare(call, scope)))
      return async (step: UNetStep) => {
        const inputs = await Promise.all(ready.map((condition) => condition(step)))
        const lists = inputs.flatMap(({ downBlockAdditionalResiduals: list }) => (list === undefined ? [] : [list]))
        const mids = inputs.flatMap(({ midBlockAdditionalResidual: mid }) => mid ?? [])
        const sum = (parts: readonly Tensor[]): Tensor =>
          step.scope.keep(parts.slice(1).reduce((a, b) => a.add(b), (parts[0] as Tensor).clone()))
        return {
          downBlockAdditionalResiduals: lists[0]?.map((_, i) => sum(lists.map((list) => list[i] as Tensor))),
          midBlockAdditionalResidual: sum(mids),
          downIntrablockAdditionalResiduals: inputs.find((input) => input.downIntrablockAdditionalResiduals)
            ?.downIntrablockAdditionalResiduals,
          imagePrompts: inputs.flatMap(({ imagePrompts = [] }) => imagePrompts),
          freeu: inputs.find(({ freeu }) => freeu)?.freeu,
        }
      }
    },
  }
}

test('two ControlNets, a T2I-Adapter, an image prompt, FreeU and a changing prompt in one call equal the same composed by hand', async (t) => {
  const [ip] = await adapters('mixed', 1)
  const conditions = [
    controlNet(net, { image: picture, scale: 0.7 }),
    controlNet(net, { image: first, scale: 0.3, end: 0.7 }),
    t2iAdapter(adapter, { image: picture, scale: 0.5 }),
    imagePrompt(ip as never, { imageEncoder: encoder, image: first, negativeImage: second, scale: 0.6 }),
    freeU({ s1: 0.9, s2: 0.2, b1: 1.2, b2: 1.4 }),
  ]
  const options = { prompt: '[a red cat:a blue dog:0.5] on a chair', promptSyntax: 'a1111' }
  const mixed = await latents({ ...options, conditions })
  t.true(distance(mixed, await latents({ ...options, conditions: [byHand(conditions)] })) < SAME)
  for (const left of conditions.keys()) {
    const without = await latents({ ...options, conditions: conditions.filter((_, i) => i !== left) })
    t.true(distance(mixed, without) > 1e-3, `condition ${left} has no effect`)
  }
})

test('a ControlNet as a condition equals the pipeline of diffusers’ name, also for image to image', async (t) => {
  const named = StableDiffusionControlNetPipeline.fromPipe(pipe, { controlnet: net })
  const settings = { controlnetConditioningScale: 0.7, controlGuidanceEnd: 0.8 }
  const condition = controlNet(net, { image: picture, scale: 0.7, end: 0.8 })
  t.true(distance(await latents({ conditions: [condition] }), await latents({ image: picture, ...settings }, named)) < SAME)
  const { height: _h, width: _w, ...rest } = common
  const image = { ...rest, image: first, strength: 0.7, outputType: 'latent' } as const
  const changing = StableDiffusionImg2ImgPipeline.fromPipe(pipe)
  const plain = await changing.generate({ ...image, generator: new Generator(3) })
  const controlled = await changing.generate({ ...image, generator: new Generator(3), conditions: [condition] })
  t.true(distance(plain.latents, controlled.latents) > 1e-3)
})

test('strengths for each residual equal one strength where they are equal, and zeros turn control off', async (t) => {
  const output = await net.forward(Tensor.zeros([1, 4, 8, 8]), 1, {
    encoderHiddenStates: Tensor.zeros([1, 77, 32]),
    controlnetCond: Tensor.zeros([1, 3, 16, 16]),
  })
  const count = output.downBlockResSamples.length + 1
  const each = (scale: number): Condition => controlNet(net, { image: picture, scale: Array.from({ length: count }, () => scale) })
  const one = await latents({ conditions: [controlNet(net, { image: picture, scale: 0.6 })] })
  t.true(distance(await latents({ conditions: [each(0.6)] }), one) < SAME)
  t.true(distance(await latents({ conditions: [each(0)] }), await latents({})) < SAME)
  await t.throwsAsync(latents({ conditions: [controlNet(net, { image: picture, scale: [1, 2] })] }), {
    message: new RegExp(`one for each of ${count} residuals`),
  })
})

test('sequential guidance gives what batched guidance gives, with conditions and perturbed layers too', async (t) => {
  const [ip] = await adapters('mixed', 1)
  const conditions = [
    controlNet(net, { image: picture, guessMode: true }),
    imagePrompt(ip as never, { imageEncoder: encoder, image: first }),
  ]
  for (const guidance of [new ClassifierFreeGuidance({ scale: 5 }), new PerturbedAttentionGuidance({ scale: 5, pagScale: 2 })]) {
    const batched = await latents({ conditions, guidance })
    t.true(distance(await latents({ conditions, guidance: sequential(guidance) }), batched) < SAME)
  }
})

test('perturbed-attention guidance as a value equals its pipeline, and is off at 0', async (t) => {
  const named = StableDiffusionPAGPipeline.fromPipe(pipe, { pagAppliedLayers: ['mid', 'up_blocks.1'] })
  const guidance = new PerturbedAttentionGuidance({ layers: ['mid', 'up_blocks.1'], pagScale: 2 })
  t.true(distance(await latents({ guidance }), await latents({ pagScale: 2 }, named)) < SAME)
  t.true(distance(await latents({ guidance: new PerturbedAttentionGuidance({ pagScale: 0 }) }), await latents({})) < SAME)
})

test('a negative image alone, beside a positive image, and none at all give three different pictures', async (t) => {
  const [ip] = await adapters('ip_negative', 1)
  const run = (images: object): Promise<Tensor> =>
    latents({ prompt: '', conditions: [imagePrompt(ip as never, { imageEncoder: encoder, scale: 0.8, ...images })] })
  const [positive, negative, both] = [
    await run({ image: first }),
    await run({ negativeImage: first }),
    await run({ image: first, negativeImage: second }),
  ]
  t.true(distance(positive, negative) > 1e-3)
  t.true(distance(positive, both) > 1e-3)
  t.true(distance(await run({ image: [first, first] }), positive) < SAME, 'an image given twice counts as given once')
})

test('an image prompt acts between start and end, and not at strength 0', async (t) => {
  const [ip] = await adapters('mixed', 1)
  const run = (how: object): Promise<Tensor> =>
    latents({ conditions: [imagePrompt(ip as never, { imageEncoder: encoder, image: first, ...how })] })
  const plain = await latents({})
  t.true(distance(await run({ scale: 0 }), plain) < SAME)
  t.true(distance(await run({ start: 0.9 }), plain) < SAME, 'no whole step lies in the last tenth of three')
  t.true(distance(await run({ end: 0.5 }), await run({})) > 1e-3)
})

test('FreeU for one call equals FreeU of the UNet', async (t) => {
  const options = { s1: 0.9, s2: 0.2, b1: 1.2, b2: 1.4 }
  const once = await latents({ conditions: [freeU(options)] })
  const own = await StableDiffusionPipeline.fromPretrained(base)
  own.unet.enableFreeU(options)
  t.true(distance(await latents({}, own), once) < SAME)
  t.true(distance(await latents({}), once) > 1e-3)
})

test('AutoPipelineForText2Image takes a ControlNet and chooses its pipeline', async (t) => {
  const auto = await AutoPipelineForText2Image.fromPretrained(base, { controlnet: net })
  t.true(auto instanceof StableDiffusionControlNetPipeline)
  const { images } = await auto.generate({ prompt: 'a cat', image: picture, numInferenceSteps: 1 })
  t.deepEqual([images[0].width, images[0].height], [16, 16])
})
