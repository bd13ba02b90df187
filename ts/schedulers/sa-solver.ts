import { Scheduler } from './scheduler.ts'

/** SA-Solver: stochastic Adams predictor-corrector, arXiv:2309.05019. Source: diffusers scheduling_sasolver.py. */
export class SASolverScheduler extends Scheduler {
  static override readonly className: string = 'SASolverScheduler'
}
