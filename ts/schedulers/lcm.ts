import { Scheduler } from './scheduler.ts'

/** Few steps of a latent consistency model, arXiv:2310.04378. Source: diffusers scheduling_lcm.py. */
export class LCMScheduler extends Scheduler {
  static override readonly className: string = 'LCMScheduler'
}

/** Few steps of a trajectory consistency model, arXiv:2402.19159; `eta` 0.3 by default. Source: diffusers scheduling_tcd.py. */
export class TCDScheduler extends Scheduler {
  static override readonly className: string = 'TCDScheduler'

  /** The pipelines of diffusers hand an `eta` of 0 to every sampler, which is not what this one takes on its own. */
  override get pipelineEta(): number {
    return 0
  }
}
