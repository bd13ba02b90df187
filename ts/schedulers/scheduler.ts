import { checkInteger, checkNumber } from '../checks.ts'
import { ConfigError, expected, guard } from '../errors.ts'
import type { HubOptions } from '../hub/settings.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { intoFolder, writeJson } from '../weights/save.ts'
import { classInfo } from './catalog.ts'
import { checkStep, checkTensor } from './check-step.ts'
import type { SchedulerConfig } from './config.ts'
import { checkRunOptions, type PlanOptions, planRequest, type SetTimestepsOptions, type StepNumbers, type StepOptions } from './options.ts'
import { freezePlan, type Plan, type Row, type StepOutput } from './plan.ts'
import { readSchedulerConfig } from './read-config.ts'
import { Run } from './run.ts'

export type { SchedulerConfig } from './config.ts'
export type { PlanOptions, SetTimestepsOptions, StepOptions } from './options.ts'

/** A class of the catalogue: what `fromConfig` and `fromPretrained` make. */
type SchedulerClass<T extends Scheduler> = { readonly className: string; new (config?: SchedulerConfig): T }

type Coefficients = { addNoise: [number, number][] | null; velocity: [number, number][] | null; betas?: number[]; alphasCumprod?: number[] }

/** Makes the noise of the next step, where that takes long, in turns of the event loop; only for this package's own modules. */
export let prepareStep: (scheduler: Scheduler, timestep: number, sample: Tensor, generator: StepOptions['generator']) => Promise<void>

/**
 * A sampler with diffusers' surface (`setTimesteps`, `timesteps`, `scaleModelInput`, `step`, `addNoise`) over an immutable plan.
 *
 * An instance holds the state of one run: `clone()` gives a fresh one with the same config for another run.
 */
export abstract class Scheduler {
  /** The diffusers class name. */
  static readonly className: string = 'Scheduler'
  /** The full configuration, snake_case, with `_class_name`; `_use_default_values` lists the keys that were not given. */
  readonly config: Readonly<SchedulerConfig>
  readonly #configJson: string
  #steps: number | undefined
  #options: SetTimestepsOptions | undefined
  #begin: number | undefined
  #start = 0
  #index: number | undefined
  #numbers: StepNumbers = {}
  #plan: { key: string; plan: Plan } | undefined
  #run = new Run()

  static {
    prepareStep = async (scheduler, timestep, sample, generator) => {
      if (scheduler.expectedCalls === undefined) {
        const row = scheduler.#row(timestep, scheduler.#numbers)
        await scheduler.#run.prepare(row, sample.shape, { generator, brownianSeed: scheduler.brownianSeed })
      }
    }
  }

  /**
   * @param config keys of this class; a key that the class does not know is an error, unless `_class_name` is there too (a saved config).
   * Throws `ConfigError` that names key and value.
   */
  constructor(config: SchedulerConfig = {}) {
    const { className } = new.target as unknown as SchedulerClass<Scheduler>
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw expected('a scheduler config object', 'config', config)
    }
    const known = classInfo(className).defaults
    if (config._class_name === undefined) {
      const own = classInfo(className).spaced ? 'sigma_spacing' : undefined
      const unknown = Object.keys(config).find((key) => !(key in known) && key !== own && !key.startsWith('_'))
      if (unknown !== undefined) {
        throw new ConfigError(`Expected one of ${Object.keys(known).join(', ')} for a key of ${className} but received ${unknown}`)
      }
    } else if (config._class_name !== className) {
      throw new ConfigError(`Expected ${className} for _class_name but received ${String(config._class_name)}; use ${className}.fromConfig`)
    }
    this.#configJson = guard(() => native.schedulerConfig(stringify({ ...config, _class_name: className })))
    checkConfig(this.#configJson)
    this.config = Object.freeze(JSON.parse(this.#configJson) as SchedulerConfig)
  }

  /**
   * A scheduler of this class with another one's config. Keys that were only defaults there are not carried over, unknown keys are kept.
   * Source: diffusers configuration_utils.py `from_config`.
   */
  static fromConfig<T extends Scheduler>(this: SchedulerClass<T>, source: SchedulerConfig | Scheduler, overrides: SchedulerConfig = {}): T {
    // biome-ignore lint/complexity/noThisInStatic lint/complexity/noUselessThisAlias: the subclass it is called on
    const target = this
    const config = source instanceof Scheduler ? source.config : source
    if (typeof config !== 'object' || config === null || Array.isArray(config)) {
      throw expected('a scheduler or a scheduler config object', 'source', source)
    }
    const request = stringify({ target: target.className, source: config, overrides })
    return new target(JSON.parse(guard(() => native.schedulerConfig(request))) as SchedulerConfig)
  }

  /** Reads `scheduler_config.json` of a model folder; on `Scheduler` itself the class is the one the file names. */
  static async fromPretrained<T extends Scheduler>(
    this: SchedulerClass<T> | typeof Scheduler,
    dir: string,
    options: HubOptions & { subfolder?: string } = {},
  ): Promise<T> {
    // biome-ignore lint/complexity/noThisInStatic lint/complexity/noUselessThisAlias: the subclass it is called on
    const target = this
    const config = await readSchedulerConfig(dir, options)
    if (target === Scheduler) {
      const { schedulerFromConfig } = await import('./resolve.ts')
      return schedulerFromConfig(config) as T
    }
    return Scheduler.fromConfig.call(target as SchedulerClass<T>, config) as T
  }

  /** Writes `scheduler_config.json` into a folder. */
  async savePretrained(dir: string): Promise<void> {
    await intoFolder(dir, (folder) => writeJson(folder, 'scheduler_config.json', this.config))
  }

  /** Model evaluations per step: 2 where every step needs two. */
  get order(): number {
    return classInfo(String(this.config._class_name)).order
  }

  /** The `eta` that pipelines hand to `step` unless the call has one. @default the sampler's own */
  get pipelineEta(): number | undefined {
    return undefined
  }

  /** Names of the classes that diffusers lists as interchangeable with this one. */
  get compatibles(): readonly string[] {
    return classInfo(String(this.config._class_name)).compatibles
  }

  /** Timesteps of the run, one per model evaluation; empty before `setTimesteps`. */
  get timesteps(): readonly number[] {
    return this.#plan?.plan.timesteps ?? []
  }

  /** Noise levels of the run, one more than timesteps; empty where the class has none. */
  get sigmas(): readonly number[] {
    return this.#plan?.plan.sigmas ?? []
  }

  /** Factor on the initial unit noise; needs `setTimesteps` where it depends on the run. */
  get initNoiseSigma(): number {
    return (this.#plan?.plan ?? this.plan(1)).initNoiseSigma
  }

  /** Betas of training, one per training timestep. */
  get betas(): readonly number[] {
    return this.#coefficients([], true).betas ?? []
  }

  /** Cumulative product of `1 - beta`, one per training timestep. */
  get alphasCumprod(): readonly number[] {
    return this.#coefficients([], true).alphasCumprod ?? []
  }

  /** Starts a run of `numInferenceSteps` steps, or of custom timesteps or sigmas; forgets the previous one. */
  setTimesteps(numInferenceSteps?: number, options: SetTimestepsOptions = {}): void {
    const chosen = { ...checkRunOptions(options) }
    const key = this.#request(numInferenceSteps, chosen)
    const plan = this.#make(key)
    this.reset()
    this.#begin = undefined
    this.#steps = numInferenceSteps
    this.#options = chosen
    this.#plan = { key, plan }
  }

  /** Says that the run starts at this position of `timesteps` (image to image). */
  setBeginIndex(index: number): void {
    const { length } = this.#current().timesteps
    this.#begin = checkInteger('index', index, { min: 0, max: length - 1 })
    this.reset()
  }

  /** As `setBeginIndex`, and gives the timesteps from there on. */
  beginAt(index: number): readonly number[] {
    this.setBeginIndex(index)
    return this.timesteps.slice(index)
  }

  /** Model calls that the run is going to take, where the sampler decides that as it goes. */
  get expectedCalls(): number | undefined {
    return undefined
  }

  /** Does the model's answer have twice the sample's channels, the second half for the variance? */
  get learnsVariance(): boolean {
    const { defaults } = classInfo(String(this.config._class_name))
    return 'variance_type' in defaults && String(this.config.variance_type).startsWith('learned')
  }

  /** Do the run's steps need the answer without the prompt, `unconditional`? */
  get needsUnconditional(): boolean {
    return this.#plan?.plan.unconditional ?? false
  }

  /** The position of the next step; `undefined` before the first one. */
  get stepIndex(): number | undefined {
    return this.#index
  }

  /** Forgets how far the run has come, not its timesteps, and frees its history. */
  reset(): void {
    this.#index = undefined
    this.#numbers = {}
    this.#run[Symbol.dispose]()
    this.#run = new Run()
  }

  /** The sample as the model wants it at this timestep; the same tensor where nothing changes. */
  scaleModelInput(sample: Tensor, timestep: number): Tensor {
    checkTensor('sample', sample)
    const { inputScale } = this.#row(timestep, this.#numbers)
    return inputScale === 1 ? sample : Tensor.linearCombination([[inputScale, sample]])
  }

  /**
   * Goes one step: from the model's answer at `timestep` to the sample at the next noise level. Steps are taken in order.
   *
   * Throws `InvalidArgumentError` for wrong arguments and `ConfigError` where the config has no finite step here.
   */
  step(modelOutput: Tensor, timestep: number, sample: Tensor, options: StepOptions = {}): StepOutput {
    const { generator, varianceNoise, unconditional, ...numbers } = checkStep(modelOutput, sample, options, this.learnsVariance ? 2 : 1)
    const row = this.#row(timestep, numbers)
    this.#numbers = numbers
    if (unconditional === undefined && this.#current().unconditional) {
      throw expected('a Tensor (this sampler needs the answer without the prompt)', 'unconditional', unconditional)
    }
    const source = { generator, varianceNoise, unconditional, brownianSeed: this.brownianSeed }
    const output = this.#run.step(row, modelOutput, sample, source)
    this.#index = row.index + 1
    return output
  }

  /**
   * Noises clean samples to given timesteps, one per item of the batch or one for all.
   * Throws where the class has no forward process of its own.
   */
  addNoise(originalSamples: Tensor, noise: Tensor, timesteps: readonly number[] | number): Tensor {
    return this.#mix('addNoise', originalSamples, noise, timesteps)
  }

  /** The v-prediction target `sqrt(abar) noise - sqrt(1 - abar) sample`. Throws where the class has none. */
  getVelocity(sample: Tensor, noise: Tensor, timesteps: readonly number[] | number): Tensor {
    return this.#mix('velocity', sample, noise, timesteps)
  }

  /** Every number of a run, without starting one. */
  plan(numInferenceSteps?: number, options: PlanOptions = {}): Plan {
    return this.#make(this.#request(numInferenceSteps, options))
  }

  /** A scheduler of the same class and config without a run. */
  clone(): this {
    return new (this.constructor as SchedulerClass<this>)(this.config)
  }

  /** The config as diffusers saves it, for `scheduler_config.json`. */
  toJSON(): SchedulerConfig {
    const { _use_default_values: _, ...config } = this.config
    return config
  }

  /** Seed of the Brownian path, for classes that sample one. */
  protected get brownianSeed(): number | undefined {
    const seed = this.config.noise_sampler_seed
    return typeof seed === 'number' ? seed : undefined
  }

  #request(steps: number | undefined, options: PlanOptions): string {
    return planRequest(steps, options, classInfo(String(this.config._class_name)).stepOptions)
  }

  #make(request: string): Plan {
    return freezePlan(guard(() => native.schedulerPlan(this.#configJson, request)))
  }

  /** The plan of the run as it is, with the numbers of the last step. */
  #current(): Plan {
    if (this.#plan === undefined) {
      throw expected('a scheduler after setTimesteps', 'this', this)
    }
    return this.#plan.plan
  }

  /** The row of the next step; the first call decides where the run begins. */
  #row(timestep: number, numbers: StepNumbers): Row {
    checkNumber('timestep', timestep)
    const { timesteps } = this.#current()
    if (this.#index === undefined) {
      this.#start = this.#begin ?? startOf(timesteps, timestep)
      this.#index = this.#start
    }
    const key = this.#request(this.#steps, { ...this.#options, ...numbers, beginIndex: this.#start })
    if (this.#plan?.key !== key) {
      this.#plan = { key, plan: this.#make(key) }
    }
    const row = this.#plan.plan.rows[this.#index - this.#start]
    if (row === undefined) {
      throw expected('a run with steps left (call setTimesteps again)', 'timestep', timestep)
    }
    return row
  }

  #coefficients(at: readonly number[], training = false): Coefficients {
    const run = this.#options === undefined ? null : JSON.parse(this.#request(this.#steps, this.#options))
    const begin = this.#begin === undefined ? null : (this.#index ?? this.#begin)
    const request = JSON.stringify({ at, begin, run, training })
    return JSON.parse(guard(() => native.schedulerNoise(this.#configJson, request))) as Coefficients
  }

  #mix(kind: 'addNoise' | 'velocity', clean: Tensor, noise: Tensor, timesteps: readonly number[] | number): Tensor {
    checkTensor(kind === 'addNoise' ? 'originalSamples' : 'sample', clean)
    checkTensor('noise', noise)
    const given: unknown[] = Array.isArray(timesteps) ? timesteps : [timesteps]
    const list = given.map((t, i) => checkNumber(`timesteps[${i}]`, t))
    const batch = Math.max(clean.shape[0] ?? 1, noise.shape[0] ?? 1)
    if (list.length !== 1 && list.length !== batch) {
      throw expected(`1 or ${batch} numbers`, 'timesteps', timesteps)
    }
    const pairs = this.#coefficients(list)[kind]
    if (pairs === null) {
      throw expected(`a scheduler that can ${kind === 'addNoise' ? 'add noise' : 'give a velocity'}`, 'this', this)
    }
    const column = (i: 0 | 1): Tensor =>
      Tensor.from(
        pairs.map((pair) => pair[i]),
        [pairs.length, ...clean.shape.slice(1).map(() => 1)],
      )
    const [a, b] = pairs[0] ?? [1, 0]
    if (pairs.length === 1 && clean.shape.join() === noise.shape.join()) {
      return Tensor.linearCombination([
        [a, clean],
        [b, noise],
      ])
    }
    using ca = column(0).to(clean.device)
    using cb = column(1).to(clean.device)
    using left = clean.mul(ca)
    using right = noise.mul(cb)
    return left.add(right)
  }
}

/** Where a run that was given no begin index starts: the second position where a timestep repeats, as diffusers does. */
function startOf(timesteps: readonly number[], timestep: number): number {
  if (timesteps[0] === timestep) {
    return 0
  }
  const first = timesteps.indexOf(timestep)
  if (first < 0) {
    throw expected('one of the timesteps of this run', 'timestep', timestep)
  }
  const second = timesteps.indexOf(timestep, first + 1)
  return second < 0 ? first : second
}

/** Plans a short run, so that a config value that no run can use is refused at once; what only this run's length forbids is not. */
function checkConfig(config: string): void {
  try {
    guard(() => native.schedulerPlan(config, '{"numInferenceSteps":10}'))
  } catch (error) {
    if (error instanceof ConfigError) {
      throw error
    }
  }
}

/** JSON that says infinities as diffusers' configs do; refuses NaN, which JSON would silently turn into null. */
function stringify(value: unknown): string {
  return JSON.stringify(value, (key, item: unknown) => {
    if (typeof item !== 'number' || Number.isFinite(item)) {
      return ArrayBuffer.isView(item) ? Array.from(item as unknown as ArrayLike<number>) : item
    }
    if (Number.isNaN(item)) {
      throw new ConfigError(`Expected a number for ${key} but received NaN`)
    }
    return item > 0 ? 'Infinity' : '-Infinity'
  })
}
