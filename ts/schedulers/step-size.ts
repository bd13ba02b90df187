import type { SchedulerConfig } from './config.ts'

/** How long the next step of an adaptive solver is: a PID controller on the error. Source: k-diffusion `PIDStepSizeController`. */
export class StepSizeController {
  /** Length of the next step in ln(sigma). */
  h: number
  readonly #weights: readonly [number, number, number]
  readonly #safety: number
  #inverse: [number, number, number] | undefined

  /** @param order the solver's order, or 1.5 where it adds noise. */
  constructor({ h_init, pcoeff, icoeff, dcoeff, accept_safety }: SchedulerConfig, order: number) {
    const [p, i, d] = [pcoeff, icoeff, dcoeff].map(Number) as [number, number, number]
    this.h = Number(h_init)
    this.#weights = [(p + i + d) / order, -(p + 2 * d) / order, d / order]
    this.#safety = Number(accept_safety)
  }

  /** Changes `h` by an error of 1 = just allowed, and says whether the step stands. */
  propose(error: number): boolean {
    const inverse = 1 / (error + 1e-8)
    const [, second, third] = this.#inverse ?? [inverse, inverse, inverse]
    const raw = inverse ** this.#weights[0] * second ** this.#weights[1] * third ** this.#weights[2]
    const factor = 1 + Math.atan(raw - 1)
    const accept = factor >= this.#safety
    this.#inverse = accept ? [inverse, inverse, second] : [inverse, second, third]
    this.h *= factor
    return accept
  }
}
