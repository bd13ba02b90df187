import { Scheduler } from './scheduler.ts'

/** DDIM, arXiv:2010.02502: deterministic with `eta` 0. Source: diffusers scheduling_ddim.py. */
export class DDIMScheduler extends Scheduler {
  static override readonly className: string = 'DDIMScheduler'
}

/** DDIM run from data to noise (inversion). Source: diffusers scheduling_ddim_inverse.py. */
export class DDIMInverseScheduler extends Scheduler {
  static override readonly className: string = 'DDIMInverseScheduler'
}
