import test from 'ava'
import { DPMAdaptiveScheduler, Generator, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline, Tensor } from '../../ts/index.ts'

const sd = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' } as const

/** A denoiser of data N(0, 1/4), whose answers change fast where the noise is of its size. */
function answer(scaled: Tensor, sigma: number): Tensor {
  return scaled.mul((sigma * Math.sqrt(sigma * sigma + 1)) / (sigma * sigma + 0.25))
}

function run(scheduler: DPMAdaptiveScheduler): { calls: number; final: Tensor } {
  scheduler.setTimesteps(10)
  let x = new Generator(3).randn([1, 4, 8, 8]).mul(scheduler.initNoiseSigma)
  let calls = 0
  for (const t of scheduler.timesteps) {
    const sigma = scheduler.sigmas[calls] ?? Number.NaN
    x = scheduler.step(answer(scheduler.scaleModelInput(x, t), sigma), t, x).prevSample
    calls += 1
  }
  return { calls, final: x }
}

test('tighter tolerances take more calls and end nearer to the exact sample', (t) => {
  const exact = (sigma: number): number => Math.sqrt(sigma * sigma + 0.25)
  const results = [0.02, 0.002, 0.0005].map((rtol) => {
    const scheduler = new DPMAdaptiveScheduler({ ...sd, rtol, atol: rtol / 10 })
    const { calls, final } = run(scheduler)
    const [high = 1, low = 0] = [scheduler.sigmas[0], scheduler.sigmas.at(-1)]
    const wanted = new Generator(3).randn([1, 4, 8, 8]).mul((high * exact(low)) / exact(high))
    return { calls, error: final.sub(wanted).abs().max().item() }
  })
  t.log(results)
  t.true(results.every(({ calls }, i) => i === 0 || calls > (results[i - 1]?.calls ?? 0)))
  t.true(results.every(({ error }, i) => i === 0 || error < (results[i - 1]?.error ?? 0)))
})

test('a second run repeats the first, and the list of timesteps starts anew', (t) => {
  const scheduler = new DPMAdaptiveScheduler(sd)
  const first = run(scheduler)
  const second = run(scheduler)
  t.is(second.calls, first.calls)
  t.is(scheduler.expectedCalls, first.calls)
  t.true(second.final.equal(first.final))
  scheduler.reset()
  t.is(scheduler.timesteps.length, 1)
})

test('steps out of order, predictions that are not finite and bad tolerances are refused', (t) => {
  const scheduler = new DPMAdaptiveScheduler(sd)
  const x = Tensor.zeros([1, 4, 2, 2])
  t.regex(t.throws(() => scheduler.step(x, 999, x), { code: 'ERR_INVALID_ARGUMENT' })?.message ?? '', /setTimesteps/)
  scheduler.setTimesteps(10)
  t.regex(t.throws(() => scheduler.step(x, 12, x), { code: 'ERR_INVALID_ARGUMENT' })?.message ?? '', /999.*timestep.*12/)
  t.throws(() => scheduler.setBeginIndex(30), { code: 'ERR_INVALID_ARGUMENT' })
  const nan = Tensor.from(new Float32Array(16).fill(Number.NaN), [1, 4, 2, 2])
  const end = t.throws(
    () => {
      for (const timestep of scheduler.timesteps) {
        scheduler.step(nan, timestep, x)
      }
    },
    { code: 'ERR_INVALID_ARGUMENT' },
  )
  t.regex(end?.message ?? '', /finite.*modelOutput/)
  t.throws(() => new DPMAdaptiveScheduler({ ...sd, rtol: 0 }), { code: 'ERR_CONFIG', message: /rtol.*0/ })
  t.throws(() => new DPMAdaptiveScheduler({ ...sd, solver_order: 4 }), { code: 'ERR_CONFIG', message: /solver_order.*4/ })
})

test('pipelines run it, from noise and from a picture', async (t) => {
  t.timeout(600_000)
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
  const options = { prompt: 'a red circle on a blue background', scheduler: { _class_name: 'DPMAdaptiveScheduler', rtol: 0.3 }, seed: 5 }
  const job = pipe.generate({ ...options, outputType: 'image' })
  const steps: [number, number][] = []
  for await (const event of job) {
    if (event.type === 'step') {
      steps.push([event.step, event.total])
    }
  }
  const { images } = await job
  const [last, total] = steps.at(-1) ?? []
  t.is(last, total)
  t.true(steps.every(([step, of]) => step <= of))
  await using changing = StableDiffusionImg2ImgPipeline.fromPipe(pipe)
  const second = changing.generate({ ...options, prompt: 'a green square', image: images[0], strength: 0.5, numInferenceSteps: 20 })
  let calls = 0
  for await (const event of second) {
    calls += event.type === 'step' ? 1 : 0
  }
  t.is((await second).images.length, 1)
  t.true(calls > 2 && calls < (last ?? 0), `${calls} of ${last}`)
})
