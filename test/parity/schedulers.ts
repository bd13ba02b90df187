import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { Generator, type Scheduler, type SchedulerConfig, schedulerFromConfig, schedulers, Tensor } from '../../ts/index.ts'
import { type ParityResult, Tally } from './tally.ts'

type Json = Record<string, unknown>
type Tensors = Record<string, Tensor>
type LoopCase = {
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
type NoiseCase = { name: string; given_config: SchedulerConfig; steps: number; seed_x0: number; seed_noise: number }
type SwapCase = {
  checkpoint: string
  to: string
  config: Json
  init_noise_sigma: number
  seed_noise: number
  seed_step: number
  noise_sampler_seed?: number
  error?: Json
}
type Chain = { checkpoint: string; chain: { to: string; config: Json; timesteps: number[] }[] }
type Swaps = {
  published: Record<string, SchedulerConfig>
  steps: number
  swaps: SwapCase[]
  chains: Chain[]
  compatibles: Record<string, string[]>
}
type StepOutput = { prevSample: Tensor; predOriginalSample: Tensor }

/** Kinds of fields that a case may have; another one means a case that this test does not know. */
const FIELDS = new Set(
  `name class given_config config steps set_timesteps_kwargs step_kwargs strength t_start order init_noise_sigma model_calls sample_dtype
  sample_calls scale_model_input final_abs_max first_nonfinite_call note seed_noise seed_x0 seed_step error`.split(/\s+/),
)

/** Runs every case of a pack's `schedulers/` folder on the public scheduler classes. */
export async function paritySchedulers(packDir: string): Promise<ParityResult> {
  const folder = join(packDir, 'schedulers')
  const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(folder, name), 'utf8')) as T
  const tally = new Tally('schedulers')
  const known = new Set(schedulers.list().map(({ className }) => className))
  const ays = await read<Record<string, number[]>>('ays.json')
  for (const file of (await readdir(folder)).filter((name) => name.endsWith('.json')).sort()) {
    const name = file.replace('.json', '')
    if (name === 'ays') {
      continue
    }
    const tensors = await Tensor.loadSafetensors(join(folder, `${name}.safetensors`))
    if (name === 'betas') {
      await betas(tally, await read(file), tensors)
    } else if (name === 'swap') {
      await swaps(tally, await read(file), tensors, known)
    } else {
      const { cases, add_noise } = await read<{ cases?: LoopCase[]; add_noise?: NoiseCase[] }>(file)
      for (const item of cases ?? []) {
        await tally.run(`${name} ${item.name}`, async () => (known.has(name) ? loop(tally, item, tensors, ays) : 'no such scheduler'))
      }
      for (const item of add_noise ?? []) {
        await tally.run(`${name} ${item.name}`, async () => (known.has(name) ? forward(tally, name, item, tensors) : 'no such scheduler'))
      }
      if (cases === undefined) {
        await tally.run(name, async () => 'a file of another kind')
      }
    }
    for (const tensor of Object.values(tensors)) {
      tensor.dispose()
    }
  }
  return tally.result()
}

const camel = (key: string): string => key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())

/** Python keyword arguments as options; `AYS:name` stands for a list of ays.json. */
function options(kwargs: Json, ays: Record<string, number[]>): Record<string, never> {
  const value = (v: unknown): unknown => (typeof v === 'string' && v.startsWith('AYS:') ? ays[v.slice(4)] : v)
  return Object.fromEntries(Object.entries(kwargs).map(([key, v]) => [camel(key), value(v)])) as Record<string, never>
}

/** The analytic model of the pack's README, in f64. */
function model(x: Tensor, t: number): Tensor {
  const values = x.toArray() as Float32Array
  return Tensor.from(
    Float32Array.from(values, (v) => 0.7 * Math.sin(1.3 * v + 0.01 * t) + 0.1 * v),
    [...x.shape],
  )
}

/** KDPM2 ancestral derives its midpoints from a difference that cancels in f32, after a square root that torch does not round correctly. */
const CANCELLING = 'KDPM2AncestralDiscreteScheduler'

function tolerance({ class: className, config = {}, model_calls = 0 }: LoopCase): number {
  const orders = ['solver_order', 'predictor_order', 'corrector_order'].map((key) => Number(config[key] ?? 0))
  const rough =
    className === CANCELLING ||
    config.beta_schedule === 'squaredcos_cap_v2' ||
    config.rescale_betas_zero_snr === true ||
    Math.max(...orders) >= 3
  return rough ? 1e-3 : model_calls <= 10 ? 2e-5 : 1e-4
}

function numbers(tensor: Tensor | undefined): number[] | undefined {
  return tensor === undefined ? undefined : Array.from<number | bigint, number>(tensor.toArray(), Number)
}

/** Throws unless numbers agree to a relative tolerance (0: exactly). */
function close(what: string, got: readonly number[], wanted: readonly number[] | undefined, relative: number): void {
  if (wanted === undefined) {
    return
  }
  const wrong = wanted.findIndex((value, i) => !(Math.abs((got[i] ?? Number.NaN) - value) <= relative * Math.abs(value)))
  if (got.length !== wanted.length || wrong >= 0) {
    throw new Error(`${what}: ${got.length} values, ${got[wrong]} instead of ${wanted[wrong]} at ${wrong} of ${wanted.length}`)
  }
}

/** Samplers whose noise is a Brownian path between noise levels: every call but the last one draws. */
const BROWNIAN: ReadonlySet<string> = new Set(['DPMSolverSDEScheduler'])

/**
 * Tolerance where we follow that path ourselves. Its times are noise levels rounded to six digits, and one unit in the last place of a level
 * (torch's square root is not rounded correctly) moves a time by 1e-6, so the noise by about the root of that. With the pack's noise the
 * usual tolerance holds.
 */
const JITTER = 6e-3

/** Timesteps agree exactly where they are integers, else to 1e-6 of at least 1. Values that are not finite in the reference are left out. */
function sameTimesteps(scheduler: Scheduler, tensor: Tensor | undefined): void {
  const wanted = numbers(tensor)
  if (wanted === undefined) {
    return
  }
  const slack = tensor?.dtype === 'i64' ? 0 : scheduler.config._class_name === CANCELLING ? 0.02 : 1e-6
  const got = scheduler.timesteps
  const off = (value: number, i: number): boolean =>
    !(Math.abs((got[i] ?? Number.NaN) - value) <= slack * Math.max(1, slack > 1e-3 ? 1 : Math.abs(value)))
  const wrong = wanted.findIndex((value, i) => Number.isFinite(value) && off(value, i))
  if (got.length !== wanted.length || wrong >= 0) {
    throw new Error(`timesteps: ${got.length} values, ${got[wrong]} instead of ${wanted[wrong]} at ${wrong} of ${wanted.length}`)
  }
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

async function loop(tally: Tally, item: LoopCase, tensors: Tensors, ays: Record<string, number[]>): Promise<string | undefined> {
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

async function forward(tally: Tally, className: string, item: NoiseCase, tensors: Tensors): Promise<string | undefined> {
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

async function betas(tally: Tally, rows: { key: string; config: SchedulerConfig; error?: Json }[], tensors: Tensors): Promise<void> {
  for (const { key, config, error } of rows) {
    await tally.run(`betas ${key}`, async () => {
      const _class_name = config.beta_schedule === 'sigmoid' ? 'DDPMScheduler' : 'DDIMScheduler'
      const make = (): Scheduler => schedulerFromConfig({ ...config, _class_name })
      if (error !== undefined) {
        try {
          make().setTimesteps(1)
        } catch {
          return undefined
        }
        throw new Error('was not refused')
      }
      const scheduler = make()
      // Rescaling to zero terminal SNR subtracts nearly equal f32 numbers: known to some units in the last place of 1.
      const [relative, absolute] = config.rescale_betas_zero_snr === true ? [0, 1e-5] : [1e-6, 0]
      for (const [field, got] of [
        ['betas', scheduler.betas],
        ['alphas_cumprod', scheduler.alphasCumprod],
      ] as const) {
        const wanted = numbers(tensors[`${key}/${field}`]) ?? []
        const wrong = wanted.findIndex((value, i) => !(Math.abs((got[i] ?? Number.NaN) - value) <= relative * value + absolute))
        if (got.length !== wanted.length || wrong >= 0) {
          throw new Error(`${field}: ${got[wrong]} instead of ${wanted[wrong]} at ${wrong}`)
        }
      }
      return undefined
    })
  }
}

/** Keys that a saved config has, without diffusers' version. */
function visible(config: Json): Json {
  return Object.fromEntries(Object.entries(config).filter(([key]) => !key.startsWith('_') || key === '_class_name'))
}

function sameConfig(scheduler: Scheduler, wanted: Json): void {
  const got = visible(scheduler.toJSON())
  for (const key of new Set([...Object.keys(got), ...Object.keys(visible(wanted))])) {
    if (!isDeepStrictEqual(got[key], wanted[key])) {
      throw new Error(`config ${key}: ${JSON.stringify(got[key])} instead of ${JSON.stringify(wanted[key])}`)
    }
  }
}

async function swaps(tally: Tally, file: Swaps, tensors: Tensors, known: ReadonlySet<string>): Promise<void> {
  for (const item of file.swaps) {
    const name = `swap ${item.checkpoint} ${item.to}`
    await tally.run(name, async () => (known.has(item.to) ? swap(tally, file, item, tensors) : 'no such scheduler'))
  }
  for (const { checkpoint, chain } of file.chains) {
    await tally.run(`chain ${checkpoint} ${chain.map(({ to }) => to).join(' ')}`, async () => {
      let scheduler = schedulerFromConfig(file.published[checkpoint] ?? {})
      for (const { to, config, timesteps } of chain) {
        if (!known.has(to)) {
          return `no ${to}`
        }
        scheduler = schedulerFromConfig(scheduler.config, { _class_name: to })
        scheduler.setTimesteps(file.steps)
        sameConfig(scheduler, config)
        close('timesteps', scheduler.timesteps, timesteps, 1e-6)
      }
      return undefined
    })
  }
  for (const [className, wanted] of Object.entries(file.compatibles)) {
    await tally.run(`compatibles ${className}`, async () => {
      if (!known.has(className)) {
        return 'no such scheduler'
      }
      const got = [...schedulerFromConfig({ _class_name: className }).compatibles].sort()
      if (!isDeepStrictEqual(got, wanted)) {
        throw new Error(`${got.join(' ')} instead of ${wanted.join(' ')}`)
      }
      return undefined
    })
  }
}

async function swap(tally: Tally, file: Swaps, item: SwapCase, tensors: Tensors): Promise<string | undefined> {
  const source = schedulerFromConfig(file.published[item.checkpoint] ?? {})
  const make = (overrides: SchedulerConfig = {}): Scheduler => schedulerFromConfig(source.config, { ...overrides, _class_name: item.to })
  if (item.error !== undefined) {
    try {
      make()
    } catch {
      return undefined
    }
    throw new Error('was not refused')
  }
  sameConfig(make(), item.config)
  const seeded = item.noise_sampler_seed === undefined ? {} : { noise_sampler_seed: item.noise_sampler_seed }
  const scheduler = make(seeded)
  scheduler.setTimesteps(file.steps)
  const golden = (field: string): Tensor | undefined => tensors[`${item.checkpoint}/${item.to}/${field}`]
  sameTimesteps(scheduler, golden('timesteps'))
  close('sigmas', scheduler.sigmas, numbers(golden('sigmas')), 1e-6)
  close('initNoiseSigma', [scheduler.initNoiseSigma], [item.init_noise_sigma], 1e-6)
  const generator = new Generator(item.seed_step)
  let x = new Generator(item.seed_noise).randn([1, 4, 8, 8]).mul(scheduler.initNoiseSigma)
  for (const t of scheduler.timesteps) {
    const output = scheduler.step(model(scheduler.scaleModelInput(x, t), t), t, x, { generator })
    output.predOriginalSample.dispose()
    x = output.prevSample
  }
  const wanted = golden('final')
  const finite = (numbers(wanted) ?? []).every(Number.isFinite)
  const allowed = BROWNIAN.has(item.to) ? JITTER : item.config.rescale_betas_zero_snr === true ? 1e-3 : 1e-4
  tally.near('final sample', x, finite ? wanted : undefined, allowed)
  return undefined
}
