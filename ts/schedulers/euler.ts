import { Scheduler } from './scheduler.ts'

/** Euler steps with optional churn, arXiv:2206.00364 algorithm 2. Source: diffusers scheduling_euler_discrete.py. */
export class EulerDiscreteScheduler extends Scheduler {
  static override readonly className: string = 'EulerDiscreteScheduler'
}

/** Euler steps with fresh noise ('Euler a'). Source: diffusers scheduling_euler_ancestral_discrete.py. */
export class EulerAncestralDiscreteScheduler extends Scheduler {
  static override readonly className: string = 'EulerAncestralDiscreteScheduler'
}
