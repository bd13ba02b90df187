import { Scheduler } from './scheduler.ts'

/** Unified predictor-corrector, arXiv:2302.04867. Source: diffusers scheduling_unipc_multistep.py. */
export class UniPCMultistepScheduler extends Scheduler {
  static override readonly className: string = 'UniPCMultistepScheduler'
}
