import { basename, resolve } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { z } from 'zod'
import { throwIfAborted } from '../abort.ts'
import { Adaptable } from '../adapters/adaptable.ts'
import type { AdapterState } from '../adapters/adapter-state.ts'
import { checkInteger, checkOptions } from '../checks.ts'
import { DisposedError, expected } from '../errors.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { SetTimestepsOptions } from '../schedulers/options.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import type { SavePretrainedOptions } from '../weights/save.ts'
import { savePipeline } from '../weights/save-pipeline.ts'
import { type Call, type Filled, guidanceScales, pictureSize, planCall } from './call.ts'
import { prepareConditions } from './condition.ts'
import type { SafetyChecker } from './decode.ts'
import { denoise } from './denoise.ts'
import { finish } from './finish.ts'
import type { CommonOptions, SizeOptions } from './generate-options.ts'
import type { ImagePromptScale } from './image-prompt-scale.ts'
import { type IPAdapterSource, type LoadIpAdapterOptions, PipelineAdapters } from './ip-adapters.ts'
import { Job, type JobContext } from './job.ts'
import {
  checkComponents,
  type DownloadOptions,
  downloadComponents,
  loadComponents,
  type PipelineLoadOptions,
  type Slots,
  withoutUndefined,
} from './load.ts'
import { loadSingleFile, type PipelineSingleFileOptions } from './load-single-file.ts'
import { type EstimateOptions, estimateRun, type MemoryEstimate, refuseHopeless, saving, savingsFor } from './memory.ts'
import { namedLoras, placed } from './named-loras.ts'
import { parseOptions } from './options.ts'
import { type Owned, Ownership } from './ownership.ts'
import type { Encoded, Prepared } from './prepared.ts'
import { checkPreview, reporter } from './report.ts'
import type { GenerateResult, Results } from './result.ts'

/** What every pipeline has. */
export interface BaseComponents {
  vae: AutoencoderKL
  unet: UNet2DConditionModel
  scheduler: Scheduler
  /** Reads the images of IP-Adapters. @default none, or the one that `loadIpAdapter` finds */
  imageEncoder?: CLIPVisionModelWithProjection | null
  /** Judges finished pictures. @default none */
  safetyChecker?: SafetyChecker | null
}

/** Where a pipeline's components come from; filled in by `fromPretrained` and `fromPipe`. */
export interface PipelineOrigin {
  owned?: Iterable<Owned>
  /** The folder or id that it was loaded from. */
  source?: string
  loadMs?: number
  /** Adapters of the pipeline that it was made from. */
  adapters?: AdapterState
}

/** A pipeline class, as its static methods see it. */
export interface PipelineClass<P> {
  new (components: never, origin?: PipelineOrigin): P
  readonly name: string
  readonly slots: Slots
  readonly settings: readonly string[]
}

/** A call before its prompts are encoded. */
interface PlannedRun<O extends CommonOptions> {
  planned: Call<O>
  prepare: (call: Call<O>, scope: Scope) => Promise<Prepared>
  scope: Scope
  begun: number
}

/** Component types of a pipeline. */
export type ComponentsOf<P> = P extends { components: Readonly<infer C> } ? C : never

/**
 * What all pipelines share: components and their ownership, loading, and the course of a call.
 *
 * A pipeline has no run state: several calls may run at once. Components that it loaded are freed by `dispose()`, those that it was
 * given are not; pipelines made by `fromPipe` own theirs together.
 */
export abstract class DiffusionPipeline<C extends BaseComponents = BaseComponents> extends Adaptable<C> implements AsyncDisposable {
  /** The components of the class, by name. */
  static readonly slots: Slots = {}
  /** Settings of the class that stand beside the components, in `model_index.json` in snake_case. */
  static readonly settings: readonly string[] = []
  /** The folder or id that it was loaded from. */
  readonly source: string | undefined
  readonly #origin: PipelineOrigin
  readonly #ownership: Ownership
  readonly #adapters = new PipelineAdapters()
  #disposed = false

  constructor(components: C, origin: PipelineOrigin = {}) {
    if (typeof components !== 'object' || components === null) {
      throw expected('an object of components', 'components', components)
    }
    checkComponents(components, new.target.slots)
    super(components, origin.adapters)
    this.source = origin.source
    this.#origin = origin
    this.#ownership = new Ownership(origin.owned)
  }

  /**
   * Loads a pipeline folder (with `model_index.json`) or the built-in model 'shapes', which is the default.
   *
   * Components given in the options are used instead of loading, and stay the caller's to dispose.
   */
  static async fromPretrained<P extends DiffusionPipeline>(
    this: PipelineClass<P>,
    source = 'shapes',
    options: PipelineLoadOptions & Partial<ComponentsOf<P>> = {},
  ): Promise<P> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    const { components, ...origin } = await loadComponents(source, this, options as PipelineLoadOptions & Record<string, unknown>)
    try {
      return new this(components as never, { ...origin, source })
    } catch (error) {
      for (const component of origin.owned) {
        component.dispose()
      }
      throw error
    }
  }

  /** Downloads what this kind of pipeline needs of a model of the hub, without loading it; returns the folder in the cache. */
  static download(this: Pick<PipelineClass<unknown>, 'slots'>, source: string, options?: DownloadOptions): Promise<string> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return downloadComponents(source, this, options)
  }

  /**
   * Loads a checkpoint of one file: `.safetensors`, `.ckpt`, `.pt` or `.gguf`, in LDM's or SGM's names. Kind, family and prediction type are told
   * by its keys and shapes; configs and vocabulary ship with the package, so that nothing is downloaded.
   *
   * Components given in the options are used instead of loading, and stay the caller's to dispose.
   */
  static async fromSingleFile<P extends DiffusionPipeline>(
    this: PipelineClass<P>,
    path: string,
    options: PipelineSingleFileOptions & Partial<ComponentsOf<P>> = {},
  ): Promise<P> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    const { components, ...origin } = await loadSingleFile(path, this, options as PipelineSingleFileOptions & Record<string, unknown>)
    try {
      return new this(components as never, { ...origin, source: path })
    } catch (error) {
      for (const component of origin.owned) {
        component.dispose()
      }
      throw error
    }
  }

  /** Makes this kind of pipeline from another one's components, without loading anything; overrides stay the caller's to dispose. */
  static fromPipe<P extends DiffusionPipeline>(
    this: PipelineClass<P>,
    pipe: DiffusionPipeline,
    overrides: Partial<ComponentsOf<P>> = {},
  ): P {
    if (!(pipe instanceof DiffusionPipeline)) {
      throw expected('a pipeline', 'pipe', pipe)
    }
    pipe.assertUsable()
    const known: Record<string, unknown> = { ...pipe.baseComponents, ...withoutUndefined(checkOptions('overrides', overrides)) }
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    const names = [...Object.keys(this.slots), ...this.settings, 'safetyChecker']
    const picked = Object.fromEntries(names.map((name) => [name, known[name]]))
    const owned = pipe.#ownership.among(Object.values(picked))
    const made = new this(picked as never, { ...pipe.#origin, owned, adapters: pipe.adapterState })
    if (made instanceof DiffusionPipeline) {
      made.loras = pipe.loras
    }
    return made
  }

  /**
   * Writes the pipeline as a diffusers folder that `fromPretrained` and Python read: each component's config and weights, without adapters. The
   * folder appears, or changes, when everything is complete.
   */
  async savePretrained(dir: string, options?: SavePretrainedOptions): Promise<void> {
    this.assertUsable()
    const { name: className, slots, settings } = this.constructor as unknown as PipelineClass<this>
    await savePipeline(dir, { className, slots, settings, components: this.components }, options)
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

  /** True after `dispose()`. */
  get disposed(): boolean {
    return this.#disposed
  }

  /** Frees the components that this pipeline owns, unless another pipeline owns them too. Safe to call twice. */
  dispose(): void {
    if (!this.#disposed) {
      this.releaseAdapters()
    }
    this.#disposed = true
    this.#adapters.unload()
    this.#ownership.release()
  }

  /** Same as `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
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
  async estimate({ numImagesPerPrompt = 1, guided = true, ...size }: EstimateOptions = {}): Promise<MemoryEstimate> {
    this.assertUsable()
    const { height, width } = pictureSize(size, { unet: this.unet, factor: this.vaeScaleFactor, multiple: this.vaeScaleFactor })
    return estimateRun(this.components, {
      height,
      width,
      images: checkInteger('numImagesPerPrompt', numImagesPerPrompt, { min: 1 }),
      rows: guided ? 2 : 1,
    })
  }

  /** Encodes the prompts of a call; the tensors belong to `scope`. */
  protected abstract encode(call: Call, prepared: Prepared, scope: Scope): Promise<Encoded>

  /** Checks what only this kind of pipeline knows, before any work. */
  protected check(_options: CommonOptions): void {}

  /** What this kind of pipeline asks of its sampler beside the number of steps. */
  protected schedule(_options: CommonOptions): SetTimestepsOptions {
    return {}
  }

  /** Throws `DisposedError` after `dispose()`. */
  protected override assertUsable(): void {
    if (this.#disposed) {
      throw new DisposedError(`Expected a ${this.constructor.name} in use for this call but received a disposed one`)
    }
  }

  /** Starts a call: checks the options, prepares latents, encodes the prompts, denoises, decodes. */
  protected start<O extends CommonOptions, T extends keyof Results>(
    options: unknown,
    { schema, prepare, signal }: { schema: z.ZodObject; prepare: (call: Call<O>, scope: Scope) => Promise<Prepared>; signal?: AbortSignal },
  ): Job<Results[T]> {
    const work = (context: JobContext<GenerateResult>): Promise<GenerateResult> =>
      this.#run(parseOptions(schema, options) as unknown as Filled<O>, prepare, context)
    return new Job(work, { signal }) as unknown as Job<Results[T]>
  }

  async #run<O extends CommonOptions>(
    options: Filled<O>,
    prepare: (call: Call<O>, scope: Scope) => Promise<Prepared>,
    { signal, emit }: JobContext<GenerateResult>,
  ): Promise<GenerateResult> {
    this.assertUsable()
    throwIfAborted(signal)
    using scope = new Scope()
    const begun = performance.now()
    this.check(options)
    checkPreview(options.preview, this.vae)
    const planned = planCall(options, { unet: this.unet, scheduler: this.scheduler, schedule: this.schedule(options), signal })
    scope.keep({ [Symbol.dispose]: () => planned.scheduler.reset() })
    const named = namedLoras(planned.options)
    const adapted = scope.keep(
      await this.adaptCall(options, named, signal).catch((error) => Promise.reject(placed(error, planned.options, named))),
    )
    return await this.inComponents(adapted, () => this.#runAdapted({ planned, prepare, scope, begun }, { signal, emit }))
  }

  /** The rest of a call, in which `components` are those with the adapters that it started with. */
  async #runAdapted<O extends CommonOptions>(
    { planned, prepare, scope, begun }: PlannedRun<O>,
    { signal, emit }: JobContext<GenerateResult>,
  ): Promise<GenerateResult> {
    const { options } = planned
    const { height, width } = options as SizeOptions
    if (height !== undefined && width !== undefined) {
      refuseHopeless(this.components, { height, width, images: planned.images, rows: planned.guidance.rows.length })
    }
    const prepared = await prepare(planned, scope)
    const call = { ...planned, guidance: prepared.guidance ?? planned.guidance }
    scope.keep(prepared.latents)
    const { vae, safetyChecker, unet, vaeScaleFactor } = { ...this.components, vaeScaleFactor: this.vaeScaleFactor }
    const { imageEncoder } = this.components
    const size = { height: prepared.height, width: prepared.width, images: call.images, rows: call.guidance.rows.length }
    const savings = await savingsFor({ unet, vae }, size, options.memory)
    const given = {
      ...prepared,
      imageEncoder,
      unet,
      vaeScaleFactor,
      images: call.images * (prepared.frames?.count ?? 1),
      imagesPerPrompt: prepared.frames === undefined ? options.numImagesPerPrompt : 1,
      guidance: call.guidance,
    }
    const conditions = await prepareConditions(
      [...(prepared.control ?? []), ...this.#adapters.conditions(options, given), ...(options.conditions ?? [])],
      { ...given, signal },
      scope,
    )
    const { conditioning, truncated, guidance = call.guidance } = await this.encode(call, prepared, scope)
    const encoded = performance.now()
    emit({ type: 'encode', elapsedMs: encoded - begun, truncated })
    const report = reporter({ call, prepared, vae: this.vae, emit })
    const { callbackOnStepEnd: hook, eta, onAbort } = options
    const denoised = await (prepared.denoise ?? denoise)({
      ...prepared,
      conditions: [...(prepared.conditions ?? []), ...conditions.map((own) => prepared.frames?.perFrame(own) ?? own)],
      unet: prepared.denoiser ?? (savings.saveMemory ? saving(unet) : unet),
      scheduler: call.scheduler,
      guidance,
      guidanceScales: guidanceScales(call, prepared.timesteps),
      generator: call.noise.generator,
      conditioning,
      eta,
      onAbort,
      signal,
      onStep: report,
      onStepEnd: hook && (async (index, timestep, state) => hook(this, index, timestep, state)),
    })
    scope.keep(denoised.latents)
    const timings = { load: this.#origin.loadMs, encode: encoded - begun, denoise: performance.now() - encoded }
    return (prepared.finish ?? finish)({
      call,
      prepared,
      denoised,
      truncated,
      timings,
      vae,
      savings,
      safetyChecker,
      emit,
      model: this.source === undefined ? unet.constructor.name : basename(resolve(this.source)),
      pipeline: this.constructor.name,
    })
  }
}
