import { Scheduler } from './scheduler.ts'

/** Improved pseudo linear multistep; timesteps lie in (0, 1]. Source: diffusers scheduling_ipndm.py. */
export class IPNDMScheduler extends Scheduler {
  static override readonly className: string = 'IPNDMScheduler'
}
