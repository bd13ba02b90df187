import { ConfigError, expected } from '../errors.ts'
import { StableDiffusionImg2ImgPipeline } from './img2img.ts'
import { StableDiffusionInpaintPipeline } from './inpaint.ts'
import { type PipelineLoadOptions, readModelIndex } from './load.ts'
import { type ComponentsOf, DiffusionPipeline } from './pipeline.ts'
import { StableDiffusionPipeline } from './stable-diffusion.ts'

/** Families of models, each with one pipeline for each task. */
const FAMILIES = [
  { textToImage: StableDiffusionPipeline, imageToImage: StableDiffusionImg2ImgPipeline, inpainting: StableDiffusionInpaintPipeline },
] as const

type Family = (typeof FAMILIES)[number]
type Task = keyof Family

/** Chooses the pipeline class for one task by the folder's `model_index.json`, or by another pipeline's class. */
export interface AutoPipeline<P> {
  /** Loads a folder or built-in model ('shapes' by default); throws `ConfigError` if no class here reads it. */
  fromPretrained(source?: string, options?: PipelineLoadOptions & Partial<ComponentsOf<P>>): Promise<P>
  /** Makes the task's pipeline from another pipeline's components, without loading anything. */
  fromPipe(pipe: DiffusionPipeline, overrides?: Partial<ComponentsOf<P>>): P
}

function familyOf(className: string): Family {
  const found = FAMILIES.find((family) => Object.values(family).some((pipeline) => pipeline.name === className))
  if (found === undefined) {
    const known = FAMILIES.flatMap((family) => Object.values(family).map((pipeline) => pipeline.name))
    throw new ConfigError(
      `Expected one of ${known.join(', ')} for _class_name in model_index.json but received ${JSON.stringify(className)}`,
    )
  }
  return found
}

function autoPipeline<T extends Task>(task: T): AutoPipeline<InstanceType<Family[T]>> {
  type P = InstanceType<Family[T]>
  const classFor = (className: string): AutoPipeline<P> => familyOf(className)[task] as unknown as AutoPipeline<P>
  return {
    async fromPretrained(source = 'shapes', options) {
      const index = await readModelIndex(source)
      return classFor(String(index._class_name)).fromPretrained(source, options)
    },
    fromPipe(pipe, overrides) {
      if (!(pipe instanceof DiffusionPipeline)) {
        throw expected('a pipeline', 'pipe', pipe)
      }
      return classFor(pipe.constructor.name).fromPipe(pipe, overrides)
    },
  }
}

/** Text to image for any supported folder. Source: diffusers `AutoPipelineForText2Image`. */
export const AutoPipelineForText2Image: AutoPipeline<InstanceType<Family['textToImage']>> = autoPipeline('textToImage')

/** Image to image for any supported folder. Source: diffusers `AutoPipelineForImage2Image`. */
export const AutoPipelineForImage2Image: AutoPipeline<InstanceType<Family['imageToImage']>> = autoPipeline('imageToImage')

/** Inpainting for any supported folder. Source: diffusers `AutoPipelineForInpainting`. */
export const AutoPipelineForInpainting: AutoPipeline<InstanceType<Family['inpainting']>> = autoPipeline('inpainting')
