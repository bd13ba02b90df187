import { Scheduler } from './scheduler.ts'

/** Ancestral sampling, arXiv:2006.11239. Source: diffusers scheduling_ddpm.py. */
export class DDPMScheduler extends Scheduler {
  static override readonly className: string = 'DDPMScheduler'
}
