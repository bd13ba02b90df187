import { isDeepStrictEqual } from 'node:util'
import { Generator, type Scheduler, type SchedulerConfig, schedulerFromConfig, type Tensor } from '../../ts/index.ts'
import { BROWNIAN, close, JITTER, type Json, model, numbers, sameTimesteps, type Tensors } from './schedulers-compare.ts'
import type { Tally } from './tally.ts'

export type SwapCase = {
  checkpoint: string
  to: string
  config: Json
  init_noise_sigma: number
  seed_noise: number
  seed_step: number
  noise_sampler_seed?: number
  error?: Json
}
export type Chain = { checkpoint: string; chain: { to: string; config: Json; timesteps: number[] }[] }
export type Swaps = {
  published: Record<string, SchedulerConfig>
  steps: number
  swaps: SwapCase[]
  chains: Chain[]
  compatibles: Record<string, string[]>
}

export async function betas(tally: Tally, rows: { key: string; config: SchedulerConfig; error?: Json }[], tensors: Tensors): Promise<void> {
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

export async function swaps(tally: Tally, file: Swaps, tensors: Tensors, known: ReadonlySet<string>): Promise<void> {
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
