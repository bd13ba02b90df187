import type { Scheduler } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { UNetCondition } from './denoise-options.ts'

/** Adds channels (images, C, h, w) to the UNet's input, for every block of its batch. */
export function concatenate(channels: Tensor): UNetCondition {
  return ({ sample, rows, scope }) => {
    const extra = rows.length === 1 ? channels : scope.keep(channels.repeat([rows.length, 1, 1, 1]))
    return { sample: scope.keep(Tensor.cat([sample, extra], 1)) }
  }
}

/** What is blended back after each step. */
export interface Reblend {
  /** Latents of the picture. */
  clean: Tensor
  /** The run's noise, of unit variance. */
  drawn: Tensor
  /** 1 = repaint: (images, 1, h, w). */
  mask: Tensor
  scheduler: Scheduler
  timesteps: readonly number[]
}

/** After each step, puts the kept part back in, with the noise that the next step expects. */
export function reblend({ clean, drawn, mask, scheduler, timesteps }: Reblend): (latents: Tensor, index: number) => Tensor {
  return (latents, index) => {
    using scope = new Scope()
    const next = timesteps[index + 1]
    const kept = next === undefined ? clean : scope.keep(scheduler.addNoise(clean, drawn, [next]))
    const keep = scope.keep(scope.keep(mask.neg()).add(1))
    return scope.keep(keep.mul(kept)).add(scope.keep(mask.mul(latents)))
  }
}
