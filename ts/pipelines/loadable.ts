import { Adaptable } from '../adapters/adaptable.ts'
import { checkOptions } from '../checks.ts'
import { DisposedError, expected } from '../errors.ts'
import type { SavePretrainedOptions } from '../weights/save.ts'
import { savePipeline } from '../weights/save-pipeline.ts'
import {
  type DownloadOptions,
  downloadComponents,
  type LoadedComponents,
  loadComponents,
  type PipelineLoadOptions,
  withoutUndefined,
} from './load.ts'
import { loadSingleFile, type PipelineSingleFileOptions } from './load-single-file.ts'
import type { OpenedModel } from './model-index.ts'
import { Ownership } from './ownership.ts'
import type { ComponentsOf, PipelineClass, PipelineOrigin } from './pipeline-class.ts'
import { made } from './pipeline-class.ts'
import { checkComponents, type Slots } from './slot.ts'

/**
 * Where the components of pipelines come from and go to: loading, sharing, saving, disposing.
 *
 * Components that a pipeline loaded are freed by `dispose()`, those that it was given are not; pipelines made by `fromPipe` own theirs together.
 */
export abstract class LoadablePipeline<C extends object> extends Adaptable<C> implements AsyncDisposable {
  /** The components of the class, by name. */
  static readonly slots: Slots = {}
  /** Settings of the class that stand beside the components, in `model_index.json` in snake_case. */
  static readonly settings: readonly string[] = []
  /** The folder or id that it was loaded from. */
  readonly source: string | undefined
  readonly #origin: PipelineOrigin
  readonly #ownership: Ownership
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
  static async fromPretrained<P extends LoadablePipeline<object>>(
    this: PipelineClass<P>,
    source = 'shapes',
    options: PipelineLoadOptions & Partial<ComponentsOf<P>> = {},
  ): Promise<P> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return made(this, source, await this.loadParts(source, options as PipelineLoadOptions & Record<string, unknown>))
  }

  /** Downloads what this kind of pipeline needs of a model of the hub, without loading it; returns the folder in the cache. */
  static download(
    this: Pick<PipelineClass<unknown>, 'slots' | 'downloadParts'>,
    source: string,
    options?: DownloadOptions,
  ): Promise<string> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return this.downloadParts(source, options)
  }

  /** Loads the components of this kind of pipeline. */
  static loadParts(source: string | OpenedModel, options: PipelineLoadOptions & Record<string, unknown>): Promise<LoadedComponents> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return loadComponents(source, this, options)
  }

  /** Brings the files of this kind of pipeline here; returns the folder that holds them. */
  static downloadParts(source: string | OpenedModel, options?: DownloadOptions): Promise<string> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return downloadComponents(source, this, options)
  }

  /**
   * Loads a checkpoint of one file: `.safetensors`, `.ckpt`, `.pt` or `.gguf`, in LDM's or SGM's names. Kind, family and prediction type are told
   * by its keys and shapes; configs and vocabulary ship with the package, so that nothing is downloaded.
   *
   * Components given in the options are used instead of loading, and stay the caller's to dispose.
   */
  static async fromSingleFile<P extends LoadablePipeline<object>>(
    this: PipelineClass<P>,
    path: string,
    options: PipelineSingleFileOptions & Partial<ComponentsOf<P>> = {},
  ): Promise<P> {
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    return made(this, path, await loadSingleFile(path, this, options as PipelineSingleFileOptions & Record<string, unknown>))
  }

  /** Makes this kind of pipeline from another one's components, without loading anything; overrides stay the caller's to dispose. */
  static fromPipe<P extends LoadablePipeline<object>>(
    this: PipelineClass<P>,
    pipe: LoadablePipeline<object>,
    overrides: Partial<ComponentsOf<P>> = {},
  ): P {
    if (!(pipe instanceof LoadablePipeline)) {
      throw expected('a pipeline', 'pipe', pipe)
    }
    pipe.assertUsable()
    const known: Record<string, unknown> = { ...pipe.baseComponents, ...withoutUndefined(checkOptions('overrides', overrides)) }
    // biome-ignore lint/complexity/noThisInStatic: the subclass it is called on
    const names = [...Object.keys(this.slots), ...this.settings, 'safetyChecker']
    const picked = Object.fromEntries(names.map((name) => [name, known[name]]))
    const owned = pipe.#ownership.among(Object.values(picked))
    const sharing = new this(picked as never, { ...pipe.#origin, owned, adapters: pipe.adapterState })
    sharing.loras = pipe.loras
    return sharing
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

  /** How long loading took, in milliseconds, where it was loaded. */
  protected get loadMs(): number | undefined {
    return this.#origin.loadMs
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
    this.#ownership.release()
  }

  /** Same as `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }

  /** Throws `DisposedError` after `dispose()`. */
  protected override assertUsable(): void {
    if (this.#disposed) {
      throw new DisposedError(`Expected a ${this.constructor.name} in use for this call but received a disposed one`)
    }
  }
}
