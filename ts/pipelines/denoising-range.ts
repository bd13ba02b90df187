import { expected } from '../errors.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import type { Call } from './call.ts'
import type { CommonOptions } from './generate-options.ts'
import { type RunSteps, strengthSteps } from './latents.ts'

/** Which share of a schedule a call runs, so that a base model and a refiner can split one. */
export interface DenoisingRange {
  /** Share of the schedule that another model has already run, above 0 and below 1. @default none */
  denoisingStart?: number
  /** Share of the schedule after which the run ends, above 0 and below 1. @default 1 */
  denoisingEnd?: number
}

/** The steps of a call that changes a picture: those that its range and its `strength` leave. */
export function imageSteps({ scheduler, steps, options }: Call<CommonOptions & DenoisingRange & { strength?: number }>): RunSteps {
  return rangeSteps(scheduler, { ...options, strength: options.strength ?? 1, steps })
}

/** The steps from `denoisingStart` (or from what `strength` leaves) to `denoisingEnd`. Source: diffusers `StableDiffusionXLImg2ImgPipeline`. */
export function rangeSteps(
  scheduler: Scheduler,
  { denoisingStart, denoisingEnd, strength, steps }: DenoisingRange & { strength: number; steps: number },
): RunSteps {
  if ((denoisingStart ?? denoisingEnd) !== undefined && scheduler.expectedCalls !== undefined) {
    throw expected('nothing (this sampler decides its steps as it goes)', 'denoisingStart or denoisingEnd', denoisingStart ?? denoisingEnd)
  }
  if (denoisingStart !== undefined && denoisingEnd !== undefined && denoisingStart >= denoisingEnd) {
    throw expected(`a number below denoisingEnd (${denoisingEnd})`, 'denoisingStart', denoisingStart)
  }
  const run = denoisingStart === undefined ? strengthSteps(scheduler, steps, strength) : startingAt(scheduler, denoisingStart)
  return denoisingEnd === undefined ? run : { ...run, timesteps: endingAt(run.timesteps, cutoff(scheduler, denoisingEnd), denoisingEnd) }
}

function startingAt(scheduler: Scheduler, denoisingStart: number): RunSteps {
  const { timesteps, order } = scheduler
  const limit = cutoff(scheduler, denoisingStart)
  const left = timesteps.filter((timestep) => timestep < limit).length
  const count = order === 2 && left % 2 === 0 ? left + 1 : left
  const begin = timesteps.length - count
  if (count === 0 || begin < 0) {
    throw expected('a number that leaves a step', 'denoisingStart', denoisingStart)
  }
  return { timesteps: scheduler.beginAt(begin), begin }
}

function endingAt(timesteps: readonly number[], limit: number, denoisingEnd: number): number[] {
  const kept = timesteps.filter((timestep) => timestep >= limit)
  if (kept.length === 0) {
    throw expected('a number that leaves a step', 'denoisingEnd', denoisingEnd)
  }
  return timesteps.slice(0, kept.length)
}

/** The timestep at which a share of the schedule is over. */
function cutoff(scheduler: Scheduler, share: number): number {
  const train = scheduler.config.num_train_timesteps ?? 1000
  return Math.round(train - share * train)
}
