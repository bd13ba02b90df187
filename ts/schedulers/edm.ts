import { Scheduler } from './scheduler.ts'

/** Euler in EDM preconditioning, arXiv:2206.00364. Source: diffusers scheduling_edm_euler.py. */
export class EDMEulerScheduler extends Scheduler {
  static override readonly className: string = 'EDMEulerScheduler'
}

/** DPM-Solver++ in EDM preconditioning. Source: diffusers scheduling_edm_dpmsolver_multistep.py. */
export class EDMDPMSolverMultistepScheduler extends Scheduler {
  static override readonly className: string = 'EDMDPMSolverMultistepScheduler'
}
