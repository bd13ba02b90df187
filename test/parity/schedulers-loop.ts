import { isDeepStrictEqual } from 'node:util'
import { Generator, type Scheduler, type SchedulerConfig, schedulerFromConfig, Tensor } from '../../ts/index.ts'
import { BROWNIAN, CANCELLING, close, JITTER, type Json, model, numbers, sameTimesteps, type Tensors } from './schedulers-compare.ts'
import type { Tally } from './tally.ts'

export type LoopCase = {
  name: string
  class: string
  given_config: SchedulerConfig
  config?: Json
  steps: number | null
  set_timesteps_kwargs: Json
  step_kwargs: Json
  strength: number | null
  t_start?: number
  order?: number
  init_noise_sigma?: number
  model_calls?: number
  sample_calls?: number[]
  first_nonfinite_call?: number
  seed_noise: number
  seed_x0: number
  seed_step: number
  error?: Json
}
export type NoiseCase = { name: string; given_config: SchedulerConfig; steps: number; seed_x0: number; seed_noise: number }
type StepOutput = { prevSample: Tensor; predOriginalSample: Tensor }

/** Kinds of fields that a case may have; another one means a case that this test does not know. */
const FIELDS = new Set(
  `name class given_config config steps set_timesteps_kwargs step_kwargs strength t_start order init_noise_sigma model_calls sample_dtype
  sample_calls scale_model_input final_abs_max first_nonfinite_call note seed_noise seed_x0 seed_step error`.split(/\s+/),
)

const camel = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

/** Python keyword arguments as options; `AYS:name` stands for a list of ays.json. */
function options(kwargs: Json, ays: Record<string, number[]>): Record<string, never> {
  const value = (v: unknown): unknown => (typeof v === 'string' && v.startsWith('AYS:') ? ays[v.slice(4)] : v)
  return Object.fromEntries(Object.entries(kwargs).map(([key, v]) => [camel(key), value(v)])) as Record<string, never>
}

function tolerance({ class: className, config = {}, model_calls = 0 }: LoopCase): number {
  const orders = ['solver_order', 'predictor_order', 'corrector_order'].map((key) => Number(config[key] ?? 0))
  const rough =
    className === CANCELLING ||
    config.beta_schedule === 'squaredcos_cap_v2' ||
    config.rescale_betas_zero_snr === true ||
    Math.max(...orders) >= 3
  return rough ? 1e-3 : model_calls <= 10 ? 2e-5 : 1e-4
}

function begin(item: LoopCase, tensors: Tensors, ays: Record<string, number[]>): Scheduler {
  const scheduler = schedulerFromConfig({ ...item.given_config, _class_name: item.class })
  scheduler.setTimesteps(item.steps ?? undefined, options(item.set_timesteps_kwargs, ays))
  if (item.t_start !== undefined) {
    scheduler.setBeginIndex(item.t_start * scheduler.order)
  }
  if (item.error === undefined) {
    sameTimesteps(scheduler, tensors[`${item.name}/timesteps`])
    close('sigmas', scheduler.sigmas, numbers(tensors[`${item.name}/sigmas`]), 1e-6)
    close('initNoiseSigma', [scheduler.initNoiseSigma], [item.init_noise_sigma ?? Number.NaN], 1e-6)
    close('order', [scheduler.order], [item.order ?? Number.NaN], 0)
  }
  return scheduler
}

function start(item: LoopCase, scheduler: Scheduler): Tensor {
  const unit = new Generator(item.seed_noise).randn([1, 4, 8, 8])
  if (item.t_start === undefined) {
    return unit.mul(scheduler.initNoiseSigma)
  }
  const clean = new Generator(item.seed_x0).randn([1, 4, 8, 8])
  return scheduler.addNoise(clean, unit, scheduler.timesteps[item.t_start * scheduler.order] ?? 0)
}

export async function loop(tally: Tally, item: LoopCase, tensors: Tensors, ays: Record<string, number[]>): Promise<string | undefined> {
  const strange = Object.keys(item).find((key) => !FIELDS.has(key))
  if (strange !== undefined) {
    return `unknown field ${strange}`
  }
  if (item.error !== undefined) {
    try {
      walk(item, begin(item, tensors, ays), Tensor.zeros([1, 4, 8, 8]), ays, () => undefined)
    } catch {
      return undefined
    }
    throw new Error('was not refused')
  }
  const scheduler = begin(item, tensors, ays)
  checkConfig(scheduler, item.config ?? {}, item.given_config)
  const allowed = tolerance(item)
  const golden = (field: string, at: number): Tensor | undefined => tensors[`${item.name}/${field}`]?.slice(0, at, at + 1)
  const own = start(item, scheduler)
  tally.near('latents', own, tensors[`${item.name}/latents`], 1e-6)
  // The loop goes on from the pack's own bits: one unit in the last place of a start at sigma 80 is more than the tolerance of a final sample.
  const latents = tensors[`${item.name}/latents`] ?? own
  const calls = item.sample_calls ?? Array.from({ length: item.model_calls ?? 0 }, (_, i) => i)
  const kept = tensors[`${item.name}/pred_original`]?.shape[0] ?? 0
  const compare =
    (limit: number) =>
    (call: number, scaled: Tensor, { prevSample, predOriginalSample }: StepOutput) => {
      if (call < 3) {
        tally.near(`scaled ${call}`, scaled, golden('scaled', call), limit)
      }
      const at = calls.indexOf(call)
      if (at >= 0) {
        tally.near(`sample ${call}`, prevSample, golden('samples', at), limit)
      }
      const back = call + kept - (item.model_calls ?? 0)
      if (back >= 0) {
        tally.near(`pred_original ${call}`, predOriginalSample, golden('pred_original', back), limit)
      }
    }
  const brownian = BROWNIAN.has(item.class)
  const done = walk(item, scheduler, latents, ays, compare(brownian ? JITTER : allowed))
  close('model calls', [done], [Math.min(item.model_calls ?? 0, item.first_nonfinite_call ?? Number.POSITIVE_INFINITY)], 0)
  const noises = tensors[`${item.name}/step_noise`]
  if (brownian && noises !== undefined) {
    walk(item, begin(item, tensors, ays), latents, ays, compare(allowed), noises)
  }
  return undefined
}

/** The loop of the pack's README; returns how many calls it made. */
function walk(
  item: LoopCase,
  scheduler: Scheduler,
  latents: Tensor,
  ays: Record<string, number[]>,
  visit: (call: number, scaled: Tensor, output: StepOutput) => void,
  noises?: Tensor,
): number {
  const generator = new Generator(item.seed_step)
  const timesteps = scheduler.timesteps.slice((item.t_start ?? 0) * scheduler.order)
  const last = item.first_nonfinite_call ?? timesteps.length
  let sample = latents
  timesteps.slice(0, last).forEach((t, call) => {
    const scaled = scheduler.scaleModelInput(sample, t)
    const draws = noises !== undefined && call < (noises.shape[0] ?? 0)
    const varianceNoise = draws ? noises.slice(0, call, call + 1) : undefined
    const output = scheduler.step(model(scaled, t), t, sample, { ...options(item.step_kwargs, ays), generator, varianceNoise })
    visit(call, scaled, output)
    output.predOriginalSample.dispose()
    sample = output.prevSample
  })
  return Math.min(last, timesteps.length)
}

/** The full config equals diffusers' own, key by key (f32 values of trained betas compare loosely). */
function checkConfig(scheduler: Scheduler, wanted: Json, given: Json): void {
  const got = scheduler.toJSON()
  for (const [key, value] of Object.entries(wanted)) {
    const equal = key === 'trained_betas' || isDeepStrictEqual(got[key], value) || Number(got[key]) === Number(value)
    if (!equal && !(key in given && typeof value === 'number' && Math.abs(Number(got[key]) - value) < 1e-7)) {
      throw new Error(`config ${key}: ${JSON.stringify(got[key])} instead of ${JSON.stringify(value)}`)
    }
  }
}

export async function forward(tally: Tally, className: string, item: NoiseCase, tensors: Tensors): Promise<string | undefined> {
  const golden = (field: string): Tensor | undefined => tensors[`${item.name}/${field}`]
  const scheduler = schedulerFromConfig({ ...item.given_config, _class_name: className })
  scheduler.setTimesteps(item.steps)
  const [x0, noise, timesteps] = [golden('x0'), golden('noise'), numbers(golden('timesteps'))]
  if (x0 === undefined || noise === undefined || timesteps === undefined) {
    return 'no tensors'
  }
  for (const [field, run] of [
    ['add_noise', () => scheduler.addNoise(x0, noise, timesteps)],
    ['get_velocity', () => scheduler.getVelocity(x0, noise, timesteps)],
  ] as const) {
    const wanted = golden(field)
    if (wanted !== undefined) {
      tally.near(field, run(), wanted, 2e-5)
    }
  }
  return undefined
}
