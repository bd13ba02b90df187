import { Scheduler } from './scheduler.ts'

/** DPM++ SDE with noise from a Brownian path, two evaluations a step. Source: diffusers scheduling_dpmsolver_sde.py. */
export class DPMSolverSDEScheduler extends Scheduler {
  static override readonly className: string = 'DPMSolverSDEScheduler'
}
