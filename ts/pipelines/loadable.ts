import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
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
import { OwningPipeline } from './owning-pipeline.ts'
import type { ComponentsOf, PipelineClass } from './pipeline-class.ts'
import { made } from './pipeline-class.ts'

/** Pipelines that are loaded from folders and single files, saved as folders, and made of each other's components. */
export abstract class LoadablePipeline<C extends object> extends OwningPipeline<C> {
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
    const sharing = new this(picked as never, pipe.originOf(picked))
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
}
