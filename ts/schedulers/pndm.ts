import { Scheduler } from './scheduler.ts'

/** Pseudo linear multistep with optional Runge-Kutta warm-up, arXiv:2202.09778. Source: diffusers scheduling_pndm.py. */
export class PNDMScheduler extends Scheduler {
  static override readonly className: string = 'PNDMScheduler'
}
