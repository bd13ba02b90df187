import type { Tensor } from '../tensor.ts'

/**
 * `Σ coefficient · register`. Registers: `sample`, `output` (the model's answer), `x0` (predicted clean sample after clipping), `noise`,
 * `uncond` (the answer without the prompt), `m<i>` (converted output of row i) and those that rows save.
 */
export type Combination = Readonly<Record<string, number>>

/** How the predicted clean sample is limited: a clamp, or dynamic thresholding per image. */
export type Clip =
  | { readonly kind: 'range'; readonly range: number }
  | { readonly kind: 'threshold'; readonly ratio: number; readonly max: number }

/** What a row draws: a standard normal tensor, or the scaled increment of a Brownian path between two noise levels. */
export type NoiseDraw =
  | { readonly kind: 'normal' }
  | { readonly kind: 'brownian'; readonly from: number; readonly to: number; readonly low: number; readonly high: number }

/** What the second half of a model's channels, v, says of the variance: v itself, or a place from -1 to 1 between two logarithms. */
export type LearnedVariance = { readonly kind: 'direct' } | { readonly kind: 'range'; readonly minLog: number; readonly maxLog: number }

/**
 * One model evaluation. Executed in this order: draw `noise`, scaled by `variance` if there is one; `churn` replaces the sample; `prepare`; `x0`, then `clip`; `value` becomes register
 * `m<index>`; `correct` replaces the sample; `save`; the results are `next` and `estimate`; registers in `drop` end.
 */
export type Row = {
  /** Position in `timesteps`. */
  readonly index: number
  /** Timestep for the model. */
  readonly t: number
  /** Noise level of the evaluation, `sqrt((1 - abar) / abar)`. */
  readonly sigma: number
  /** Factor on the sample before the model sees it. */
  readonly inputScale: number
  readonly noise?: NoiseDraw
  readonly variance?: LearnedVariance
  readonly churn?: Combination
  readonly prepare?: Readonly<Record<string, Combination>>
  readonly x0: Combination
  readonly clip?: Clip
  readonly value?: Combination
  readonly correct?: Combination
  readonly save?: Readonly<Record<string, Combination>>
  readonly next: Combination
  /** What `step` returns as clean prediction; `x0` where absent. */
  readonly denoised?: Combination
  /** The step's result by a lower order, for error control. */
  readonly estimate?: Combination
  readonly drop?: readonly string[]
  /** Why executing this row is an error. */
  readonly problem?: string
}

/** Every number of a sampling run, decided before the first model call. Immutable. */
export type Plan = {
  readonly className: string
  /** Timesteps of the whole schedule. */
  readonly timesteps: readonly number[]
  /** As diffusers holds them. */
  readonly timestepsDtype: 'int64' | 'float32'
  /** Noise levels, one more than timesteps; empty where the class has none. */
  readonly sigmas: readonly number[]
  /** Factor on the initial noise. */
  readonly initNoiseSigma: number
  /** Model evaluations per step. */
  readonly order: number
  /** Index of the first row. */
  readonly beginIndex: number
  /** True where a row draws noise. */
  readonly stochastic: boolean
  /** True where a row reads the model's answer without the prompt, register `uncond`. */
  readonly unconditional: boolean
  /** One per model evaluation, from `beginIndex` on. */
  readonly rows: readonly Row[]
}

/** What one step gives back. */
export type StepOutput = {
  /** The sample at the next noise level; a new tensor that the caller owns. */
  prevSample: Tensor
  /** The predicted clean sample; a new tensor that the caller owns. */
  predOriginalSample: Tensor
}

/** Freezes a plan that came as JSON, all the way down. */
export function freezePlan(json: string): Plan {
  const freeze = (value: unknown): unknown => {
    if (typeof value === 'object' && value !== null) {
      for (const item of Object.values(value)) {
        freeze(item)
      }
      Object.freeze(value)
    }
    return value
  }
  return freeze(JSON.parse(json)) as Plan
}
