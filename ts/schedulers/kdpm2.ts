import { Scheduler } from './scheduler.ts'

/** DPM2 of k-diffusion: midpoint in log sigma, two evaluations a step. Source: diffusers scheduling_k_dpm_2_discrete.py. */
export class KDPM2DiscreteScheduler extends Scheduler {
  static override readonly className: string = 'KDPM2DiscreteScheduler'
}

/** DPM2 with fresh noise ('DPM2 a'). Source: diffusers scheduling_k_dpm_2_ancestral_discrete.py. */
export class KDPM2AncestralDiscreteScheduler extends Scheduler {
  static override readonly className: string = 'KDPM2AncestralDiscreteScheduler'
}
