import { checkInteger, checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import { randnTensor } from '../random.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { checkStep } from './check-step.ts'
import type { SetTimestepsOptions, StepOptions } from './options.ts'
import type { Row, StepOutput } from './plan.ts'
import { Run } from './run.ts'
import { Scheduler } from './scheduler.ts'
import { StepSizeController } from './step-size.ts'

/** One attempt at a step from a level to a lower one, and the evaluation that it is at. */
type Attempt = { from: number; to: number; rows: readonly Row[]; place: number; run: Run }

/** What a refused step needs to start again. */
type Begun = { sample: Tensor; output: Tensor }

/**
 * DPM adaptive: DPM-Solver-23 that chooses its own steps by an error estimate. Source: k-diffusion `sample_dpm_adaptive`.
 *
 * There is no plan of the whole run: `timesteps` and `sigmas` grow while it goes, so `for (const t of scheduler.timesteps)` visits every
 * evaluation and ends with the run. The number of steps only says where an image-to-image run starts. A refused step starts again from
 * its first evaluation, which is kept. Images of one batch share their steps: the error is that of the batch.
 */
export class DPMAdaptiveScheduler extends Scheduler {
  static override readonly className: string = 'DPMAdaptiveScheduler'
  #timesteps: number[] = []
  #sigmas: number[] = []
  #levels: readonly number[] = []
  #start = 0
  #calls: number | undefined
  #controller: StepSizeController | undefined
  #attempt: Attempt | undefined
  #begun: Begun | undefined
  #lower: Tensor | undefined

  /** Timesteps of the evaluations so far and of the next one: one array, which grows. */
  override get timesteps(): readonly number[] {
    return this.#timesteps
  }

  /** Noise levels of `timesteps`, and the final one when the run has ended: one array, which grows. */
  override get sigmas(): readonly number[] {
    return this.#sigmas
  }

  override get stepIndex(): number | undefined {
    return this.#calls
  }

  /** Evaluations that the run will have taken if its step size stays. */
  override get expectedCalls(): number {
    if (this.#attempt === undefined) {
      return this.#timesteps.length
    }
    const { from, rows, place } = this.#attempt
    return (this.#calls ?? 0) - place + Math.ceil(Math.log(from / this.#lowest) / this.#size) * rows.length
  }

  /** Starts a run; `numInferenceSteps` equal steps are where `beginAt` and `setBeginIndex` may start it. */
  override setTimesteps(numInferenceSteps?: number, options: SetTimestepsOptions = {}): void {
    const { sigmas, order } = this.plan(numInferenceSteps, options)
    this.#levels = sigmas.filter((_, i) => i % order === 0)
    this.#start = this.#levels[0] ?? 0
    this.reset()
  }

  override setBeginIndex(index: number): void {
    this.beginAt(index)
  }

  override beginAt(index: number): readonly number[] {
    const step = Math.floor(checkInteger('index', index, { min: 0, max: (this.#levels.length - 1) * this.order - 1 }) / this.order)
    this.#start = this.#levels[step] ?? 0
    this.reset()
    return this.#timesteps
  }

  override reset(): void {
    super.reset()
    this.#forget()
    this.#calls = undefined
    this.#controller = undefined
    this.#timesteps = []
    this.#sigmas = []
    if (this.#levels.length > 0) {
      this.#attempt = this.#plan(this.#start)
      this.#announce(this.#attempt)
    }
  }

  override scaleModelInput(sample: Tensor, timestep: number): Tensor {
    const { row } = this.#next(timestep)
    return Tensor.linearCombination([[row.inputScale, sample]])
  }

  override step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): StepOutput {
    const checked = checkStep(modelOutput, sample, options)
    const { attempt, row } = this.#next(timestep)
    if (attempt.place === 0) {
      this.#begun = { sample: sample.clone(), output: modelOutput.clone() }
    }
    this.#calls = (this.#calls ?? 0) + 1
    return attempt.place + 1 < attempt.rows.length
      ? this.#evaluate(attempt, row, modelOutput, sample)
      : this.#finish(attempt, row, modelOutput, sample, checked)
  }

  /** Noises clean samples to a timestep of this run. */
  override addNoise(originalSamples: Tensor, noise: Tensor, timesteps: readonly number[] | number): Tensor {
    const timestep = typeof timesteps === 'number' ? timesteps : timesteps[0]
    const sigma = this.#sigmas[this.#timesteps.lastIndexOf(timestep ?? Number.NaN)]
    if (sigma === undefined) {
      throw expected('a timestep of this run', 'timesteps', timesteps)
    }
    return Tensor.linearCombination([
      [1, originalSamples],
      [sigma, noise],
    ])
  }

  get #lowest(): number {
    return this.#levels[this.#levels.length - 1] ?? 0
  }

  /** Length of the next step in ln(sigma). */
  get #size(): number {
    return this.#controller?.h ?? Number(this.config.h_init)
  }

  #plan(from: number): Attempt {
    const to = Math.max(this.#lowest, from * Math.exp(-this.#size))
    if (!(to < from)) {
      throw expected('tolerances that a step can meet', 'rtol and atol', [this.config.rtol, this.config.atol])
    }
    return { from, to, place: 0, run: new Run(), rows: this.plan(undefined, { sigmas: [from, to] }).rows }
  }

  #announce({ rows, place }: Attempt): void {
    this.#timesteps.push(rows[place]?.t ?? 0)
    this.#sigmas.push(rows[place]?.sigma ?? 0)
  }

  #evaluate(attempt: Attempt, row: Row, output: Tensor, sample: Tensor): StepOutput {
    const result = attempt.run.step(row, output, sample, {})
    attempt.place += 1
    this.#announce(attempt)
    return result
  }

  /** The last evaluation of an attempt: the step stands and the next one is planned, or it starts again with another size. */
  #finish(attempt: Attempt, row: Row, output: Tensor, sample: Tensor, { generator, varianceNoise, sNoise = 1 }: StepOptions): StepOutput {
    using scope = new Scope()
    const quiet = row.noise && scope.keep(scope.keep(sample.mul(0)))
    const { prevSample, predOriginalSample, estimate = prevSample } = attempt.run.step(row, output, sample, { varianceNoise: quiet })
    scope.keepNew(estimate, prevSample)
    const begun = this.#begun
    this.#controller ??= new StepSizeController(this.config, this.config.eta ? 1.5 : Number(this.config.solver_order))
    if (begun !== undefined && !this.#controller.propose(this.#error(prevSample, estimate, begun.sample))) {
      prevSample.dispose()
      attempt.run[Symbol.dispose]()
      return { ...this.#again(attempt.from, begun), predOriginalSample }
    }
    this.#forget()
    if (Math.log(attempt.to / this.#lowest) > 1e-5) {
      this.#lower = estimate.clone()
      this.#attempt = this.#plan(attempt.to)
      this.#announce(this.#attempt)
    } else {
      this.#sigmas.push(attempt.to)
    }
    if (row.noise === undefined) {
      return { prevSample, predOriginalSample }
    }
    scope.keep(prevSample)
    const drawn = scope.keep(varianceNoise?.clone() ?? randnTensor(sample.shape, generator))
    const noise = scope.keepNew(drawn.to(sample.device), drawn)
    const noised = Tensor.linearCombination([
      [1, prevSample],
      [(row.next.noise ?? 0) * checkNumber('sNoise', sNoise, { min: 0 }), noise],
    ])
    return { prevSample: noised, predOriginalSample }
  }

  /** The root mean square of the difference of both orders, in units of what is allowed. */
  #error(high: Tensor, low: Tensor, start: Tensor): number {
    using scope = new Scope()
    const { rtol, atol } = this.config
    const before = scope.keep((this.#lower ?? start).abs())
    const size = scope.keep(scope.keep(low.abs()).maximum(before))
    const allowed = scope.keep(scope.keep(size.mul(Number(rtol))).maximum(Number(atol)))
    const share = scope.keep(scope.keep(low.sub(high)).div(allowed))
    const error = Math.sqrt(scope.keep(scope.keep(share.mul(share)).mean()).item())
    if (!Number.isFinite(error)) {
      throw expected('finite numbers', 'modelOutput', error)
    }
    return error
  }

  #again(from: number, { sample, output }: Begun): StepOutput {
    const attempt = this.#plan(from)
    this.#attempt = attempt
    const [first] = attempt.rows
    if (first === undefined) {
      throw expected('a step with evaluations', 'sigmas', [attempt.from, attempt.to])
    }
    const { prevSample, predOriginalSample } = this.#evaluate(attempt, first, output, sample)
    predOriginalSample.dispose()
    return { prevSample, predOriginalSample }
  }

  #next(timestep: number): { attempt: Attempt; row: Row } {
    const attempt = this.#attempt
    const row = attempt?.rows[attempt.place]
    if (attempt === undefined || row === undefined) {
      throw expected('a run with steps left (call setTimesteps)', 'timestep', timestep)
    }
    if (timestep !== row.t) {
      throw expected(`the run's next timestep, ${row.t},`, 'timestep', timestep)
    }
    return { attempt, row }
  }

  #forget(): void {
    this.#begun?.sample.dispose()
    this.#begun?.output.dispose()
    this.#begun = undefined
    this.#lower?.dispose()
    this.#lower = undefined
    this.#attempt?.run[Symbol.dispose]()
    this.#attempt = undefined
  }
}
