import { Scheduler } from './scheduler.ts'

/** DPM-Solver multistep of order 1 to 3, deterministic or SDE, arXiv:2211.01095. Source: diffusers scheduling_dpmsolver_multistep.py. */
export class DPMSolverMultistepScheduler extends Scheduler {
  static override readonly className: string = 'DPMSolverMultistepScheduler'
}

/** DPM-Solver multistep run from data to noise. Source: diffusers scheduling_dpmsolver_multistep_inverse.py. */
export class DPMSolverMultistepInverseScheduler extends Scheduler {
  static override readonly className: string = 'DPMSolverMultistepInverseScheduler'
}

/** DPM-Solver singlestep: groups of up to three evaluations. Source: diffusers scheduling_dpmsolver_singlestep.py. */
export class DPMSolverSinglestepScheduler extends Scheduler {
  static override readonly className: string = 'DPMSolverSinglestepScheduler'
}
