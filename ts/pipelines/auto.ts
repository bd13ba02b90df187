import { ConfigError, expected } from '../errors.ts'
import { openSingleFile } from '../weights/single-file.ts'
import type { ControlNetComponent } from './control-call.ts'
import type { ControlledImage, ControlledText } from './control-options.ts'
import { DECODERS, familyOf, type TaskName } from './families.ts'
import type { CommonOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import type { KandinskyV22CombinedComponents } from './kandinsky-v22-combined.ts'
import type { KandinskyPrompts } from './kandinsky-v22-options.ts'
import type { DownloadOptions, PipelineLoadOptions } from './load.ts'
import type { PipelineSingleFileOptions } from './load-single-file.ts'
import { openModel } from './model-index.ts'
import { DiffusionPipeline } from './pipeline.ts'
import type { BaseComponents, PipelineClass, RunComponents } from './pipeline-class.ts'
import { made } from './pipeline-class.ts'
import type { Results } from './result.ts'
import type { StableDiffusionComponents } from './stable-diffusion-base.ts'
import type { StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'

/** A pipeline for one task, of whatever family; what only SDXL takes is refused by the others. Kandinsky's `vae` is a `VQModel`. */
export type TaskPipeline<O extends CommonOptions> = DiffusionPipeline<BaseComponents, O, Results>

/** Components of any family, to be used instead of loading or sharing. */
export type AnyComponents = (
  | Partial<StableDiffusionComponents>
  | Partial<StableDiffusionXLComponents>
  | Partial<KandinskyV22CombinedComponents>
) & {
  /** Chooses the task's pipeline with ControlNet. */
  controlnet?: ControlNetComponent['controlnet']
}

/** Chooses the pipeline class for one task by the folder's `model_index.json`, or by another pipeline's class. */
export interface AutoPipeline<O extends CommonOptions> {
  /** Loads a folder or built-in model ('shapes' by default); throws `ConfigError` if no class here reads it. */
  fromPretrained(source?: string, options?: PipelineLoadOptions & AnyComponents): Promise<TaskPipeline<O>>
  /** Downloads what the task's pipeline needs of a model of the hub, without loading it; returns the folder in the cache. */
  download(source: string, options?: DownloadOptions): Promise<string>
  /** Loads a checkpoint of one file, see `DiffusionPipeline.fromSingleFile`; its keys tell the family. */
  fromSingleFile(path: string, options?: PipelineSingleFileOptions & AnyComponents): Promise<TaskPipeline<O>>
  /** Makes the task's pipeline from another pipeline's components, without loading anything. */
  fromPipe(pipe: DiffusionPipeline<RunComponents>, overrides?: AnyComponents): TaskPipeline<O>
}

function autoPipeline<O extends CommonOptions>(task: TaskName): AutoPipeline<O> {
  const classFor = (className: string, options: object = {}): AutoPipeline<O> & PipelineClass<TaskPipeline<O>> => {
    const controlled = 'controlnet' in options && options.controlnet !== undefined
    const found = familyOf(className, controlled)[task]
    if (found === undefined) {
      throw new ConfigError(`Expected a family with a pipeline for ${task} but received ${className}`)
    }
    return found as unknown as AutoPipeline<O> & PipelineClass<TaskPipeline<O>>
  }
  return {
    async fromPretrained(source = 'shapes', options) {
      const model = await openModel(source, options)
      const pipeline = classFor(String(model.index._class_name), options)
      return made(pipeline, source, await pipeline.loadParts(model, { ...options }))
    },
    async download(source, options) {
      const model = await openModel(source, options)
      return classFor(String(model.index._class_name)).downloadParts(model, options)
    },
    async fromSingleFile(path, options = {}) {
      const { facts } = await openSingleFile(path, options)
      return classFor(facts.family?.startsWith('sdxl') ? 'StableDiffusionXLPipeline' : 'StableDiffusionPipeline', options).fromSingleFile(
        path,
        options,
      )
    },
    fromPipe(pipe, overrides) {
      if (!(pipe instanceof DiffusionPipeline)) {
        throw expected('a pipeline', 'pipe', pipe)
      }
      const decoder = Object.values(DECODERS).some((pipeline) => pipeline.name === pipe.constructor.name) ? DECODERS[task] : undefined
      return ((decoder as unknown as AutoPipeline<O> | undefined) ?? classFor(pipe.constructor.name, overrides)).fromPipe(pipe, overrides)
    },
  }
}

/** What only Kandinsky takes. */
type PriorOptions = Pick<KandinskyPrompts, 'priorNumInferenceSteps' | 'priorGuidanceScale'>

/** Text to image for any supported folder. Source: diffusers `AutoPipelineForText2Image`. */
export const AutoPipelineForText2Image: AutoPipeline<TextToImageXLOptions & Partial<ControlledText> & PriorOptions> =
  autoPipeline('textToImage')

/** Image to image for any supported folder. Source: diffusers `AutoPipelineForImage2Image`. */
export const AutoPipelineForImage2Image: AutoPipeline<ImageToImageXLOptions & Partial<ControlledImage> & PriorOptions> =
  autoPipeline('imageToImage')

/** Inpainting for any supported folder. Source: diffusers `AutoPipelineForInpainting`. */
export const AutoPipelineForInpainting: AutoPipeline<InpaintXLOptions & Partial<ControlledImage> & PriorOptions> =
  autoPipeline('inpainting')
