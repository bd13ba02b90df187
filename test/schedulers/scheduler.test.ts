import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import {
  DDIMScheduler,
  DDPMScheduler,
  DPMSolverMultistepScheduler,
  EulerDiscreteScheduler,
  Generator,
  HeunDiscreteScheduler,
  PNDMScheduler,
  resolveScheduler,
  Scheduler,
  type SchedulerConfig,
  schedulerFromConfig,
  schedulers,
  Tensor,
  UniPCMultistepScheduler,
} from '../../ts/index.ts'

const sd = { beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' } as const

test('a menu name and a config are the same scheduler', (t) => {
  const named = resolveScheduler('dpm++ 2m KARRAS', { ...sd })
  const config = resolveScheduler({ _class_name: 'DPMSolverMultistepScheduler', use_karras_sigmas: true }, { ...sd })
  t.true(named instanceof DPMSolverMultistepScheduler)
  t.deepEqual(named.plan(12), config.plan(12))
})

test('an unknown name is refused with the nearest ones', (t) => {
  const error = t.throws(() => resolveScheduler('DPM++ 2N Karras'), { code: 'ERR_CONFIG' })
  t.regex(error?.message ?? '', /nearest: .*DPM\+\+ 2M Karras/)
  t.throws(() => schedulerFromConfig({ _class_name: 'NoScheduler' }), { code: 'ERR_CONFIG' })
})

test('every class is listed, can be made, and plans', (t) => {
  for (const { className, order } of schedulers.list()) {
    const scheduler = schedulerFromConfig({ _class_name: className })
    t.is(scheduler.config._class_name, className)
    t.is(scheduler.order, order)
    t.true(scheduler.plan(8).rows.length >= 8, className)
  }
})

test('only what a checkpoint says is carried to another class', (t) => {
  const pndm = PNDMScheduler.fromConfig({
    _class_name: 'PNDMScheduler',
    ...sd,
    steps_offset: 1,
    skip_prk_steps: true,
    set_alpha_to_one: false,
  })
  const euler = EulerDiscreteScheduler.fromConfig(pndm)
  t.is(euler.config.timestep_spacing, 'linspace')
  t.is(euler.config.steps_offset, 1)
  t.is(euler.config.skip_prk_steps, true)
  t.is(PNDMScheduler.fromConfig(euler).config.skip_prk_steps, true)
  t.is(EulerDiscreteScheduler.fromConfig(pndm, { use_karras_sigmas: true }).config.use_karras_sigmas, true)
  t.is(EulerDiscreteScheduler.fromConfig({ ...euler.config, use_karras_sigmas: true }).config.use_karras_sigmas, true)
})

test('a plan is frozen and does not start a run', (t) => {
  const scheduler = new HeunDiscreteScheduler(sd)
  const plan = scheduler.plan(5)
  t.true(Object.isFrozen(plan.rows[0]?.next))
  t.is(plan.order, 2)
  t.is(plan.rows.length, 9)
  t.deepEqual(scheduler.timesteps, [])
})

for (const { className } of schedulers.list().filter(({ stochastic }) => stochastic === true)) {
  test(`noise comes from one stream per image: ${className}`, (t) => {
    const run = (seeds: number[]): Tensor => {
      // The prior's sampler knows the cosine schedule only.
      const scheduler = schedulerFromConfig({ _class_name: className, ...(className !== 'UnCLIPScheduler' && sd) })
      scheduler.setTimesteps(4)
      const generators = seeds.map((seed) => new Generator(seed))
      let sample = Tensor.cat(generators.map((generator) => generator.randn([1, 4, 8, 8])))
      for (const timestep of scheduler.timesteps) {
        const options = { generator: generators, unconditional: sample.mul(0.05) }
        sample = scheduler.step(sample.mul(0.1), timestep, sample, options).prevSample
      }
      return sample
    }
    t.true(
      run([7, 8])
        .slice(0, 1, 2)
        .equal(run([8])),
    )
    t.false(run([8]).equal(run([9])))
  })
}

test('a CFG++ sampler asks for the answer without the prompt', (t) => {
  const scheduler = resolveScheduler('Euler CFG++', sd)
  scheduler.setTimesteps(3)
  t.true(scheduler.needsUnconditional)
  const sample = Tensor.ones([1, 4, 2, 2])
  const [first = 0] = scheduler.timesteps
  const missing = t.throws(() => scheduler.step(sample, first, sample), { code: 'ERR_INVALID_ARGUMENT' })
  t.regex(missing?.message ?? '', /without the prompt.*unconditional/)
  const wrong = t.throws(() => scheduler.step(sample, first, sample, { unconditional: Tensor.ones([2]) }), { code: 'ERR_INVALID_ARGUMENT' })
  t.regex(wrong?.message ?? '', /unconditional/)
})

test('a clone starts afresh and a second run repeats the first', (t) => {
  const run = (scheduler: Scheduler): Tensor => {
    scheduler.setTimesteps(6)
    let sample = new Generator(3).randn([1, 4, 8, 8])
    for (const timestep of scheduler.timesteps) {
      sample = scheduler.step(sample.mul(0.2), timestep, sample).prevSample
    }
    return sample
  }
  const scheduler = new UniPCMultistepScheduler(sd)
  const first = run(scheduler)
  t.true(run(scheduler).equal(first))
  t.true(run(scheduler.clone()).equal(first))
})

test('forward noising follows sqrt(abar) and needs no run where it goes by timestep', (t) => {
  const scheduler = new DDPMScheduler(sd)
  const abar = scheduler.alphasCumprod[500] ?? 0
  const noisy = scheduler.addNoise(Tensor.ones([2, 1]), Tensor.zeros([2, 1]), 500)
  t.true(Math.abs(Number(noisy.toArray()[1]) - Math.sqrt(abar)) < 1e-6)
  t.is(scheduler.betas.length, 1000)
  t.throws(() => scheduler.addNoise(Tensor.ones([2, 1]), Tensor.zeros([2, 1]), [1, 2, 3]), { code: 'ERR_INVALID_ARGUMENT' })
  t.throws(() => scheduler.addNoise(Tensor.ones([2, 1]), Tensor.zeros([2, 1]), 1000), { code: 'ERR_INVALID_ARGUMENT' })
})

test('wrong steps, timesteps and sigmas are refused by name', (t) => {
  const scheduler = new EulerDiscreteScheduler(sd)
  const refused = (work: () => unknown, message: RegExp): void => {
    const error = t.throws(work, { code: 'ERR_INVALID_ARGUMENT' })
    t.regex(error?.message ?? '', message)
  }
  for (const steps of [0, -1, 2.5, Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
    refused(() => scheduler.setTimesteps(steps), /numInferenceSteps/)
  }
  refused(() => scheduler.setTimesteps(undefined, { timesteps: [100, 200] }), /descending/)
  refused(() => scheduler.setTimesteps(undefined, { sigmas: [1, 2] }), /descending/)
  refused(() => scheduler.setTimesteps(undefined, { timesteps: [Number.NaN] }), /timesteps\[0\]/)
  refused(() => scheduler.setTimesteps(3, { timesteps: [3, 2] }), /timesteps/)
  refused(() => new DDIMScheduler(sd).setTimesteps(undefined, { timesteps: [3, 2] }), /timesteps/)
  refused(() => scheduler.step(Tensor.zeros([1]), 1, Tensor.zeros([1])), /setTimesteps/)
  scheduler.setTimesteps(2)
  refused(() => scheduler.step(Tensor.zeros([1]), 12.5, Tensor.zeros([1])), /timestep/)
  refused(() => scheduler.step(Tensor.zeros([2]), scheduler.timesteps[0] ?? 0, Tensor.zeros([1])), /modelOutput/)
  refused(() => scheduler.setBeginIndex(7), /index/)
  // @ts-expect-error a string is no Tensor
  refused(() => scheduler.step('x', 1, Tensor.zeros([1])), /modelOutput/)
})

test('wrong config values are refused with key and value', (t) => {
  const refused = (config: object, message: RegExp): void => {
    const error = t.throws(() => new EulerDiscreteScheduler(config as SchedulerConfig).setTimesteps(3), { code: 'ERR_CONFIG' })
    t.regex(error?.message ?? '', message)
  }
  refused({ timestep_spacing: 'sideways' }, /timestep_spacing.*sideways/)
  refused({ prediction_type: 'guess' }, /prediction_type.*guess/)
  refused({ beta_start: Number.NaN }, /beta_start.*NaN/)
  refused({ num_train_timesteps: -5 }, /num_train_timesteps.*-5/)
  refused({ bta_start: 0.1 }, /bta_start/)
  refused({ _class_name: 'DDIMScheduler' }, /DDIMScheduler/)
  refused({ use_karras_sigmas: true, use_beta_sigmas: true }, /use_beta_sigmas/)
})

test('a saved config is read by its class name, with Python infinities', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'scheduler-'))
  try {
    await writeFile(
      join(dir, 'scheduler_config.json'),
      '{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "solver_order": 3}',
    )
    const scheduler = await Scheduler.fromPretrained(dir)
    t.true(scheduler instanceof DPMSolverMultistepScheduler)
    t.is(scheduler.config.solver_order, 3)
    t.is((await EulerDiscreteScheduler.fromPretrained(dir)).config.solver_order, 3)
    await writeFile(join(dir, 'scheduler_config.json'), '{')
    await t.throwsAsync(() => Scheduler.fromPretrained(dir), { code: 'ERR_CONFIG' })
    await t.throwsAsync(() => Scheduler.fromPretrained(dir, { subfolder: 'none' }), { code: 'ERR_CONFIG' })
  } finally {
    await rm(dir, { recursive: true })
  }
})
