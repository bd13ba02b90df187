import test from 'ava'
import { EulerDiscreteScheduler, Generator, HeunDiscreteScheduler, Tensor } from '../../ts/index.ts'
import { rangeSteps } from '../../ts/pipelines/denoising-range.ts'
import { guidanceScaleEmbedding } from '../../ts/pipelines/guidance-scale.ts'
import { initialNoise, repeatBatch, strengthSteps } from '../../ts/pipelines/latents.ts'
import { PromptBatch } from '../../ts/pipelines/prompt-batch.ts'
import type { PromptInputs, TrackEntry } from '../../ts/pipelines/prompt-inputs.ts'
import { noiseSource } from '../../ts/pipelines/seeds.ts'
import { imageToImageIds, type SizeConditioning, textToImageIds } from '../../ts/pipelines/time-ids.ts'

const euler = (steps: number): EulerDiscreteScheduler => {
  const scheduler = new EulerDiscreteScheduler({ timestep_spacing: 'leading' })
  scheduler.setTimesteps(steps)
  return scheduler
}

test('strength keeps min(int(n * strength), n) steps; two-evaluation samplers start at twice the position', (t) => {
  const run = (steps: number, strength: number): [number, number] => {
    const { timesteps, begin } = strengthSteps(euler(steps), steps, strength)
    return [timesteps.length, begin]
  }
  t.deepEqual(
    [run(50, 0.8), run(6, 0.3), run(6, 1), run(3, 0.34)],
    [
      [40, 10],
      [1, 5],
      [6, 0],
      [1, 2],
    ],
  )
  const heun = new HeunDiscreteScheduler()
  heun.setTimesteps(6)
  t.deepEqual([heun.timesteps.length, strengthSteps(heun, 6, 0.5).begin, strengthSteps(heun, 6, 0.5).timesteps.length], [11, 6, 5])
  t.throws(() => run(6, 0), { code: 'ERR_INVALID_ARGUMENT', message: /for strength but received 0/ })
})

test('a base model and a refiner split one schedule without a gap', (t) => {
  const all = euler(10).timesteps
  const base = rangeSteps(euler(10), { denoisingEnd: 0.6, strength: 1, steps: 10 })
  const refiner = rangeSteps(euler(10), { denoisingStart: 0.6, strength: 0.3, steps: 10 })
  t.deepEqual([...base.timesteps, ...refiner.timesteps], all)
  t.deepEqual([base.begin, refiner.begin], [0, 6])
  const refuse = (range: { denoisingStart?: number; denoisingEnd?: number }, message: RegExp): void => {
    t.throws(() => rangeSteps(euler(10), { ...range, strength: 1, steps: 10 }), { code: 'ERR_INVALID_ARGUMENT', message })
  }
  refuse({ denoisingStart: 0.6, denoisingEnd: 0.5 }, /below denoisingEnd \(0.5\)/)
  refuse({ denoisingEnd: 0.01 }, /leaves a step/)
})

test('size conditioning follows diffusers, also where it is odd', (t) => {
  t.deepEqual(textToImageIds({}, [16, 24]), { positive: [16, 24, 0, 0, 16, 24], negative: [16, 24, 0, 0, 16, 24] })
  const partly = textToImageIds({ negativeOriginalSize: [8, 8] }, [16, 24])
  t.deepEqual(partly.negative, partly.positive, 'one negative size alone is ignored')
  const options: SizeConditioning = { cropsCoordsTopLeft: [3, 5], negativeCropsCoordsTopLeft: [1, 1] }
  t.deepEqual(imageToImageIds(options, [16, 24], false).negative, [16, 24, 3, 5, 16, 24])
  t.deepEqual(imageToImageIds(options, [16, 24], true), { positive: [16, 24, 3, 5, 6], negative: [16, 24, 1, 1, 2.5] })
})

test('seeds count up from the first one, however large', (t) => {
  t.deepEqual(noiseSource({ seed: 7 }, 3).seeds, [7, 8, 9])
  t.deepEqual(noiseSource({ seed: 2n ** 53n }, 2).seeds, [2n ** 53n, 2n ** 53n + 1n])
  const generator = new Generator(4)
  t.is(noiseSource({ generator }, 2).generator, generator)
  t.throws(() => noiseSource({ seeds: [1, 2] }, 3), { message: /one seed for each of 3 images for seeds/ })
  t.throws(() => noiseSource({ generator: [generator] }, 2), { message: /each of 2 images for generator/ })
  t.throws(() => noiseSource({ seed: 1, seeds: [1] }, 1), { message: /at most one of/ })
})

test('noise is drawn for the batch or checked for its shape', (t) => {
  const noise = noiseSource({ seed: 1 }, 2)
  t.deepEqual(initialNoise([2, 4, 8, 8], noise).shape, [2, 4, 8, 8])
  const own = Tensor.zeros([2, 4, 8, 8])
  initialNoise([2, 4, 8, 8], noise, own).dispose()
  t.false(own.disposed)
  t.throws(() => initialNoise([2, 4, 8, 8], noise, Tensor.zeros([1, 4, 8, 8])), { message: /\(2, 4, 8, 8\) for latents/ })
  t.deepEqual(repeatBatch(Tensor.from([[1], [2]]), 4).tolist(), [[1], [2], [1], [2]])
})

test('the guidance scale embedding is that of diffusers', (t) => {
  const [row] = guidanceScaleEmbedding(1.001, 4, 2).tolist() as number[][]
  const expected = [Math.sin(1), Math.sin(1e-4), Math.cos(1), Math.cos(1e-4)]
  for (const [i, value] of expected.entries()) {
    t.true(Math.abs((row?.[i] ?? Number.NaN) - value) < 1e-4, `${i}`)
  }
  t.deepEqual(guidanceScaleEmbedding(7.5, 5, 1).shape, [1, 5])
})

test('the UNet gets the same context tensor at every step, until something is replaced', (t) => {
  const inputs = (value: number): PromptInputs => ({ embeds: Tensor.full([1, 2, 3], value), textEmbeds: Tensor.full([1, 4], value) })
  const batch = new PromptBatch({ positive: inputs(1), negative: inputs(-1) })
  const [negative, positive] = [{ prompt: 'negative' }, { prompt: 'positive' }] as const
  const first = batch.inputs([negative, positive], 0)
  t.is(batch.inputs([{ ...negative }, { ...positive }], 1).encoderHiddenStates, first.encoderHiddenStates)
  t.deepEqual(first.addedCondKwargs?.textEmbeds?.tolist(), [
    [-1, -1, -1, -1],
    [1, 1, 1, 1],
  ])
  t.is(batch.inputs([positive], 0).encoderHiddenStates, batch.positive(0))
  batch.replace({ negativePromptEmbeds: Tensor.full([1, 2, 3], 5) })
  t.is(batch.inputs([negative, positive], 0).encoderHiddenStates.index(0).max().item(), 5)
  t.throws(() => batch.replace({ promptEmbeds: Tensor.zeros([2, 2, 3]) }), { message: /\(1, tokens, 3\) for promptEmbeds/ })
  batch.dispose()
  const alone = new PromptBatch({ positive: inputs(1) })
  t.throws(() => alone.inputs([negative, positive], 0), { message: /once guidance is turned on for negativePromptEmbeds/ })
})

test('a track of prompts gives each UNet call its own text, and the same Tensor whenever a text comes back', (t) => {
  const entry = (until: number, value: number): TrackEntry => ({ until, inputs: { embeds: Tensor.full([1, 1, 1], value) } })
  const [a, b, plain] = [entry(0, 1), entry(1, 2), entry(0, 9)]
  const batch = new PromptBatch({ positive: [[a, b, { ...a, until: 2 }], [plain]], negative: [b, { ...a, until: 3 }] })
  const rows = [{ prompt: 'negative' }, { prompt: 'positive' }, { prompt: 'positive', part: 1 }] as const
  const contexts = [0, 1, 2, 7].map((index) => batch.inputs(rows, index).encoderHiddenStates)
  t.deepEqual(
    contexts.map((context) => [...context.toArray()]),
    [
      [2, 1, 9],
      [2, 2, 9],
      [1, 1, 9],
      [1, 1, 9],
    ],
  )
  t.is(contexts[2], contexts[3])
  t.throws(() => batch.inputs([{ prompt: 'positive', part: 2 }], 0), { message: /^Expected 3 tracks/ })
})
