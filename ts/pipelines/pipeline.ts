import { performance } from 'node:perf_hooks'
import { throwIfAborted } from '../abort.ts'
import { Scope } from '../scope.ts'
import { type Call, type Filled, planCall } from './call.ts'
import type { CommonOptions, RunOptions } from './generate-options.ts'
import type { ImagePromptScale } from './image-prompt-scale.ts'
import { PipelineAdapters } from './ip-adapters.ts'
import { Job, type JobContext } from './job.ts'
import type { IPAdapterSource, LoadIpAdapterOptions } from './load-ip-adapters.ts'
import { LoadablePipeline } from './loadable.ts'
import { type EstimateOptions, estimateCall, type MemoryEstimate } from './memory.ts'
import { namedLoras, placed } from './named-loras.ts'
import { parseOptions } from './parse-options.ts'
import type { BaseComponents, PipelineOrigin, RunComponents } from './pipeline-class.ts'
import type { Encoded, Prepared } from './prepared.ts'
import { checkPreview } from './report.ts'
import type { GenerateResult, Results } from './result.ts'
import { runCall } from './run.ts'
import type { FamilyTask } from './task.ts'

/**
 * What all pipelines share: components and their ownership, loading, and the course of a call.
 *
 * A pipeline has no run state: several calls may run at once. Components that it loaded are freed by `dispose()`, those that it was
 * given are not; pipelines made by `fromPipe` own theirs together. A family of pipelines says how prompts are encoded, a task which options calls
 * take and how a run begins.
 */
export abstract class DiffusionPipeline<
  C extends RunComponents = BaseComponents,
  O extends CommonOptions = CommonOptions,
  R extends Record<keyof Results, unknown> = Record<keyof Results, unknown>,
> extends LoadablePipeline<C> {
  readonly #adapters = new PipelineAdapters()
  readonly #task: FamilyTask<O>

  constructor(task: FamilyTask<O>, components: C, origin?: PipelineOrigin) {
    super(components, origin)
    this.#task = task
  }

  /** The denoiser. */
  get unet(): C['unet'] {
    return this.components.unet
  }

  /** The autoencoder. */
  get vae(): C['vae'] {
    return this.components.vae
  }

  /** The sampler that calls start from; each call works on a copy. */
  get scheduler(): C['scheduler'] {
    return this.components.scheduler
  }

  /** Pixels per latent along one edge, 8 for Stable Diffusion. */
  get vaeScaleFactor(): number {
    return this.vae.scaleFactor
  }

  override dispose(): void {
    this.#adapters.unload()
    super.dispose()
  }

  /**
   * Loads one IP-Adapter or several, in place of those that were loaded, and the image encoder beside them.
   *
   * Calls then take `ipAdapterImage`. Source: diffusers `IPAdapterMixin.load_ip_adapter`.
   */
  async loadIpAdapter(source: IPAdapterSource | readonly IPAdapterSource[], options: LoadIpAdapterOptions = {}): Promise<void> {
    this.assertUsable()
    await this.#adapters.load(source, options, this.components.imageEncoder)
  }

  /** Sets how strongly images count: one scale for all adapters, or one for each. Source: diffusers `set_ip_adapter_scale`. */
  setIpAdapterScale(scale: ImagePromptScale | readonly ImagePromptScale[]): void {
    this.#adapters.setScale(scale)
  }

  /** Takes the IP-Adapters off and frees what `loadIpAdapter` loaded. */
  unloadIpAdapter(): void {
    this.#adapters.unload()
  }

  /**
   * Memory that a call would take, within about 15 %; nothing is computed. Pictures default to the size that the UNet was trained on.
   *
   * `guided` says whether the prompt is weighed against a negative one, which doubles the batch.
   */
  async estimate(options: EstimateOptions = {}): Promise<MemoryEstimate> {
    this.assertUsable()
    return estimateCall(this.components, options)
  }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: O & { outputType?: T }, { signal }: RunOptions = {}): Job<R[T]> {
    const work = (context: JobContext<GenerateResult>): Promise<GenerateResult> =>
      this.#run(parseOptions(this.#task.schema, options) as unknown as Filled<O>, context)
    return new Job(work, { signal }) as unknown as Job<R[T]>
  }

  /** Encodes the prompts of a call; the tensors belong to `scope`. */
  protected abstract encode(call: Call, prepared: Prepared, scope: Scope): Promise<Encoded>

  /** The start of a run, as the task has it; temporary tensors belong to `scope`. */
  protected async prepare(call: Call<O>, scope: Scope): Promise<Prepared> {
    return this.#task.begin(call, this, scope)
  }

  /** Checks what only this family knows, before any work. */
  protected check(_options: CommonOptions): void {}

  /** Settles a call before any model runs. */
  protected plan(options: Filled<O>, signal: AbortSignal): Call<O> {
    const schedule = this.#task.schedule?.(options) ?? {}
    return planCall(options, { unet: this.unet, scheduler: this.scheduler, schedule, signal })
  }

  async #run(options: Filled<O>, context: JobContext<GenerateResult>): Promise<GenerateResult> {
    const { signal } = context
    this.assertUsable()
    throwIfAborted(signal)
    using scope = new Scope()
    const begun = performance.now()
    this.check(options)
    checkPreview(options.preview, this.vae)
    const call = this.plan(options, signal)
    scope.keep({ [Symbol.dispose]: () => call.scheduler.reset() })
    const named = namedLoras(call.options)
    const adapted = scope.keep(
      await this.adaptCall(call.options, named, signal).catch((error) => Promise.reject(placed(error, call.options, named))),
    )
    const run = {
      pipe: this,
      call,
      prepare: (own: Call<O>) => this.prepare(own, scope),
      encode: (own: Call, prepared: Prepared) => this.encode(own, prepared, scope),
      imagePrompts: this.#adapters,
      adapted,
      loadMs: this.loadMs,
      begun,
      scope,
    }
    return await this.inComponents(adapted, () => runCall(run, context))
  }
}
