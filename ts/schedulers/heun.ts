import { Scheduler } from './scheduler.ts'

/** Heun's method, two evaluations a step, arXiv:2206.00364 algorithm 1. Source: diffusers scheduling_heun_discrete.py. */
export class HeunDiscreteScheduler extends Scheduler {
  static override readonly className: string = 'HeunDiscreteScheduler'
}
