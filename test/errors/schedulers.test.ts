import test from 'ava'
import {
  DDIMScheduler,
  EulerDiscreteScheduler,
  LMSDiscreteScheduler,
  PNDMScheduler,
  resolveScheduler,
  Scheduler,
  schedulerFromConfig,
  Tensor,
} from '../../ts/index.ts'
import { assertRefused, type Refusal, wrong } from './refusals.ts'

const invalid = 'ERR_INVALID_ARGUMENT'
const config = 'ERR_CONFIG'
const x = Tensor.zeros([1, 4, 2, 2])

/** An Euler scheduler with a run of five steps. */
function euler(): EulerDiscreteScheduler {
  const scheduler = new EulerDiscreteScheduler()
  scheduler.setTimesteps(5)
  return scheduler
}

test('configs that are wrong or not supported', async (t) => {
  const make = (values: object) => () => new DDIMScheduler(wrong(values))
  const refusals: Refusal[] = [
    ['text as config', () => new DDIMScheduler(wrong('linear')), invalid, /config/],
    ['an unknown schedule', make({ beta_schedule: 'cosine2' }), config, /beta_schedule.*cosine2/s],
    ['an unknown spacing', make({ timestep_spacing: 'even' }), config, /timestep_spacing.*even/s],
    ['an unknown prediction', make({ prediction_type: 'noise' }), config, /prediction_type.*noise/s],
    ['text as a beta', make({ beta_start: 'small' }), config, /beta_start.*small/s],
    ['NaN as a beta', make({ beta_end: Number.NaN }), config, /beta_end/],
    ['a beta above 1', make({ beta_end: 2 }), config, /beta/],
    ['no training steps', make({ num_train_timesteps: 0 }), config, /num_train_timesteps/],
    ['half a training step', make({ num_train_timesteps: 10.5 }), config, /num_train_timesteps/],
    ['absurdly many training steps', make({ num_train_timesteps: 1e12 }), config, /num_train_timesteps/],
    ['text as a flag', make({ clip_sample: 'yes' }), config, /clip_sample/],
    ['betas that are no numbers', make({ trained_betas: ['a'] }), config, /trained_betas/],
    ['two sigma schedules', () => new LMSDiscreteScheduler({ use_karras_sigmas: true, use_exponential_sigmas: true }), config, /use_/],
    ['an unknown class', () => schedulerFromConfig({ _class_name: 'MyScheduler' }), config, /MyScheduler/],
    ['no class', () => schedulerFromConfig({}), invalid, /_class_name/],
    ['an unknown name', () => resolveScheduler('Eular'), config, /Eular/],
    ['a number', () => resolveScheduler(wrong(7)), invalid, /7/],
    ['fromConfig of text', () => DDIMScheduler.fromConfig(wrong('ddim')), invalid, /for source but received "ddim"/],
    ['a missing folder', () => Scheduler.fromPretrained('/nowhere'), invalid, /nowhere/],
    ['a folder without a scheduler', () => DDIMScheduler.fromPretrained('shapes', { subfolder: 'vae' }), config, /scheduler_config\.json/],
  ]
  await assertRefused(t, refusals)
})

test('runs that cannot be', async (t) => {
  const set =
    (scheduler: Scheduler, steps: unknown, options: object = {}) =>
    () =>
      scheduler.setTimesteps(wrong(steps), options)
  const refusals: Refusal[] = [
    ['no steps', set(euler(), 0), invalid, /numInferenceSteps/],
    ['negative steps', set(euler(), -2), invalid, /numInferenceSteps/],
    ['half a step', set(euler(), 2.5), invalid, /numInferenceSteps/],
    ['NaN steps', set(euler(), Number.NaN), invalid, /numInferenceSteps.*NaN/],
    ['text', set(euler(), '20'), invalid, /numInferenceSteps.*20/],
    ['nothing', set(euler(), undefined), invalid, /numInferenceSteps/],
    ['more steps than were trained', set(new DDIMScheduler(), 2000), invalid, /numInferenceSteps/],
    ['sigmas that rise', set(euler(), undefined, { sigmas: [1, 5] }), invalid, /sigmas/],
    ['negative sigmas', set(euler(), undefined, { sigmas: [5, -1] }), invalid, /sigmas/],
    ['sigmas as text', set(euler(), undefined, { sigmas: 'karras' }), invalid, /sigmas/],
    ['sigmas where there are none', set(new PNDMScheduler(), undefined, { sigmas: [5, 1, 0] }), invalid, /sigmas/],
    ['steps and sigmas', set(euler(), 5, { sigmas: [5, 1, 0] }), invalid, /only one|sigmas/],
    ['a begin beyond the end', () => euler().setBeginIndex(5), invalid, /for index but received 5/],
    ['a begin before setTimesteps', () => new EulerDiscreteScheduler().setBeginIndex(0), invalid, /setTimesteps/],
    ['a plan of no steps', () => new DDIMScheduler().plan(0), invalid, /numInferenceSteps/],
  ]
  await assertRefused(t, refusals)
})

test('steps and noise that do not fit', async (t) => {
  const ready = euler()
  const [first = 0] = ready.timesteps
  const spent = euler()
  for (const at of spent.timesteps) spent.step(x, at, x)
  const stepped = (options: object) => () => euler().step(x, first, x, wrong(options))
  const refusals: Refusal[] = [
    ['a step before setTimesteps', () => new EulerDiscreteScheduler().step(x, 999, x), invalid, /setTimesteps/],
    ['a timestep of another run', () => ready.step(x, 12345, x), invalid, /for timestep but received 12345/],
    ['NaN as timestep', () => ready.step(x, Number.NaN, x), invalid, /for timestep but received NaN/],
    ['no model output', () => ready.step(wrong(undefined), first, x), invalid, /for modelOutput but received undefined/],
    ['no sample', () => ready.step(x, first, wrong(null)), invalid, /for sample but received null/],
    ['another shape', () => ready.step(Tensor.zeros([1, 4, 2, 3]), first, x), invalid, /for modelOutput/],
    ['one step too many', () => spent.step(x, first, x), invalid, /steps left/],
    ['a negative churn', stepped({ sChurn: -1 }), invalid, /sChurn/],
    ['an unknown option', stepped({ etta: 0.5 }), invalid, /etta/],
    ['what is no generator', stepped({ generator: 7 }), invalid, /generator/],
    ['scaling text', () => ready.scaleModelInput(wrong('x'), first), invalid, /for sample but received "x"/],
    ['noising without noise', () => ready.addNoise(x, wrong(undefined), [first]), invalid, /for noise but received undefined/],
    ['two timesteps for one sample', () => ready.addNoise(x, x, [first, first]), invalid, /for timesteps/],
    ['noising at NaN', () => ready.addNoise(x, x, [Number.NaN]), invalid, /for timesteps\[0\] but received NaN/],
    ['noise of another shape', () => ready.addNoise(x, Tensor.zeros([1, 4, 3, 3]), [first]), invalid, /\[1, 4, 2, 2\]|\[1, 4, 3, 3\]/],
    ['noising beyond the training', () => new DDIMScheduler().addNoise(x, x, [5000]), invalid, /5000/],
  ]
  await assertRefused(t, refusals)
})

test('a disposed sample is refused', async (t) => {
  const gone = Tensor.zeros([1, 4, 2, 2])
  gone.dispose()
  const scheduler = euler()
  const [first = 0] = scheduler.timesteps
  await assertRefused(t, [['step', () => scheduler.step(x, first, gone), 'ERR_DISPOSED', /disposed/]])
})
