import { Scheduler } from './scheduler.ts'

/** DEIS, arXiv:2204.13902: exponential integrator in log rho. Source: diffusers scheduling_deis_multistep.py. */
export class DEISMultistepScheduler extends Scheduler {
  static override readonly className: string = 'DEISMultistepScheduler'
}
