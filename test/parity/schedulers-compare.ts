import { type Scheduler, Tensor } from '../../ts/index.ts'

export type Json = Record<string, unknown>
export type Tensors = Record<string, Tensor>

/** The analytic model of the pack's README, in f64. */
export function model(x: Tensor, t: number): Tensor {
  const values = x.toArray() as Float32Array
  return Tensor.from(
    Float32Array.from(values, (v) => 0.7 * Math.sin(1.3 * v + 0.01 * t) + 0.1 * v),
    [...x.shape],
  )
}

export function numbers(tensor: Tensor | undefined): number[] | undefined {
  return tensor === undefined ? undefined : Array.from<number | bigint, number>(tensor.toArray(), Number)
}

/** Throws unless numbers agree to a relative tolerance (0: exactly). */
export function close(what: string, got: readonly number[], wanted: readonly number[] | undefined, relative: number): void {
  if (wanted === undefined) {
    return
  }
  const wrong = wanted.findIndex((value, i) => !(Math.abs((got[i] ?? Number.NaN) - value) <= relative * Math.abs(value)))
  if (got.length !== wanted.length || wrong >= 0) {
    throw new Error(`${what}: ${got.length} values, ${got[wrong]} instead of ${wanted[wrong]} at ${wrong} of ${wanted.length}`)
  }
}

/** Samplers whose noise is a Brownian path between noise levels: every call but the last one draws. */
export const BROWNIAN: ReadonlySet<string> = new Set(['DPMSolverSDEScheduler'])

/**
 * Tolerance where we follow that path ourselves. Its times are noise levels rounded to six digits, and one unit in the last place of a level
 * (torch's square root is not rounded correctly) moves a time by 1e-6, so the noise by about the root of that. With the pack's noise the
 * usual tolerance holds.
 */
export const JITTER = 6e-3

/** KDPM2 ancestral derives its midpoints from a difference that cancels in f32, after a square root that torch does not round correctly. */
export const CANCELLING = 'KDPM2AncestralDiscreteScheduler'

/** Timesteps agree exactly where they are integers, else to 1e-6 of at least 1. Values that are not finite in the reference are left out. */
export function sameTimesteps(scheduler: Scheduler, tensor: Tensor | undefined): void {
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
