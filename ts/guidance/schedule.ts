import { expected } from '../errors.ts'

/** One step of a run, as a guidance function sees it. */
export interface ScaleStep {
  /** 0-based. */
  index: number
  /** Steps of the run. */
  total: number
  /** Timestep of the step's first UNet call. */
  timestep: number
}

/** A scale that holds in a part of the run only; outside guidance is off, and a step costs half. */
export interface GuidanceInterval {
  scale: number
  /** Share of the run, 0 to 1, where it begins. @default 0 */
  from?: number
  /** Share of the run, 0 to 1, where it ends. @default 1 */
  to?: number
}

/** A guidance scale: a number for all steps, one for each (the last holds on), a function of the step, or an interval. */
export type GuidanceScale = number | readonly number[] | GuidanceInterval | ((step: ScaleStep) => number)

/** A run, as far as a schedule of scales depends on it. */
export interface ScaledRun {
  timesteps: readonly number[]
  /** UNet calls of one step. */
  callsPerStep: number
}

/** The scale of every UNet call; throws `InvalidArgumentError` where a function does not give a finite number. */
export function scalesOf(scale: GuidanceScale, { timesteps, callsPerStep }: ScaledRun): number[] {
  const total = Math.ceil(timesteps.length / callsPerStep)
  const steps = Array.from({ length: total }, (_, index): number => {
    const value = scaleAt(scale, { index, total, timestep: timesteps[index * callsPerStep] ?? 0 })
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw expected('a finite number', `guidanceScale of step ${index}`, value)
    }
    return value
  })
  return timesteps.map((_, call) => steps[Math.floor(call / callsPerStep)] ?? 1)
}

function scaleAt(scale: GuidanceScale, step: ScaleStep): number {
  if (typeof scale === 'number') {
    return scale
  }
  if (typeof scale === 'function') {
    return scale(step)
  }
  if ('scale' in scale) {
    const { from = 0, to = 1 } = scale
    const share = step.index / step.total
    return share >= from && share < to ? scale.scale : 1
  }
  return scale[Math.min(step.index, scale.length - 1)] ?? 1
}

/** The largest scale that is known without a run; that of a function is taken as undefined. */
export function peakScale(scale: GuidanceScale): number | undefined {
  if (typeof scale === 'function') {
    return undefined
  }
  return typeof scale === 'number' ? scale : 'scale' in scale ? scale.scale : Math.max(...scale)
}
