import { Scheduler } from './scheduler.ts'

/** Ancestral sampling of the priors of unCLIP and Kandinsky. Source: diffusers scheduling_unclip.py. */
export class UnCLIPScheduler extends Scheduler {
  static override readonly className: string = 'UnCLIPScheduler'
}
