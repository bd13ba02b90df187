import { Scheduler } from './scheduler.ts'

/** Linear multistep of k-diffusion. Source: diffusers scheduling_lms_discrete.py. */
export class LMSDiscreteScheduler extends Scheduler {
  static override readonly className: string = 'LMSDiscreteScheduler'
}
