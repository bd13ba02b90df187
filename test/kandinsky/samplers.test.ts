import test from 'ava'
import { Generator, InvalidArgumentError, schedulerFromConfig, Tensor, UnCLIPScheduler } from '../../ts/index.ts'
import { distance } from '../families/goldens.ts'
import { kandinskyCases } from './goldens.ts'

/** Four multiply-adds and an exponential in f32, five steps one after the other. */
const TOLERANCE = 1e-5

const { cases, tensors } = await kandinskyCases()

for (const [name, { scheduler: config, timesteps = [] }] of Object.entries(cases).filter(([key]) => key.startsWith('sampler.'))) {
  test(`${name} goes the reference's steps with the reference's noise`, (t) => {
    const scheduler = schedulerFromConfig(config)
    scheduler.setTimesteps(timesteps.length)
    t.deepEqual(scheduler.timesteps, timesteps)
    const generator = new Generator(3)
    let sample = new Generator(9).randn([2, 4, 3, 5])
    for (const [i, timestep] of timesteps.entries()) {
      sample = scheduler.step(tensors[`${name}/${i}.answer`] as Tensor, timestep, sample, { generator }).prevSample
      const far = distance(sample, tensors[`${name}/${i}.sample`])
      t.true(far < TOLERANCE, `step ${i}: ${far}`)
    }
  })
}

test('a learned variance needs twice the channels, and a prior two steps', (t) => {
  const learned = new UnCLIPScheduler({ variance_type: 'learned_range' })
  learned.setTimesteps(3)
  t.true(learned.learnsVariance)
  const sample = Tensor.zeros([1, 4, 2, 2])
  t.throws(() => learned.step(sample, 999, sample), { instanceOf: InvalidArgumentError, message: /\[1, 8, 2, 2\] for modelOutput/ })
  const fixed = new UnCLIPScheduler()
  t.false(fixed.learnsVariance)
  t.throws(() => fixed.setTimesteps(1), { instanceOf: InvalidArgumentError, message: /from 2 to 1000 for numInferenceSteps/ })
})
