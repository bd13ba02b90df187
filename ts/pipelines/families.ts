import { ConfigError } from '../errors.ts'
import {
  StableDiffusionControlNetImg2ImgPipeline,
  StableDiffusionControlNetInpaintPipeline,
  StableDiffusionControlNetPipeline,
  StableDiffusionXLControlNetImg2ImgPipeline,
  StableDiffusionXLControlNetInpaintPipeline,
  StableDiffusionXLControlNetPipeline,
} from './controlnet.ts'
import { KandinskyV22Img2ImgPipeline, KandinskyV22InpaintPipeline, KandinskyV22Pipeline } from './kandinsky-v22.ts'
import {
  KandinskyV22CombinedPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22InpaintCombinedPipeline,
} from './kandinsky-v22-combined.ts'
import { LatentConsistencyModelImg2ImgPipeline, LatentConsistencyModelPipeline } from './latent-consistency.ts'
import { StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline } from './stable-diffusion.ts'
import { StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline, StableDiffusionXLPipeline } from './stable-diffusion-xl.ts'

/** Families of models, each with one pipeline for each task. */
const FAMILIES = [
  { textToImage: StableDiffusionPipeline, imageToImage: StableDiffusionImg2ImgPipeline, inpainting: StableDiffusionInpaintPipeline },
  { textToImage: StableDiffusionXLPipeline, imageToImage: StableDiffusionXLImg2ImgPipeline, inpainting: StableDiffusionXLInpaintPipeline },
  { textToImage: LatentConsistencyModelPipeline, imageToImage: LatentConsistencyModelImg2ImgPipeline },
  {
    textToImage: KandinskyV22CombinedPipeline,
    imageToImage: KandinskyV22Img2ImgCombinedPipeline,
    inpainting: KandinskyV22InpaintCombinedPipeline,
  },
] as const

/** Decoders alone: their folders are loaded with a prior, as a family above. */
export const DECODERS: Family = {
  textToImage: KandinskyV22Pipeline,
  imageToImage: KandinskyV22Img2ImgPipeline,
  inpainting: KandinskyV22InpaintPipeline,
}

/** The same families with ControlNet, for calls that bring one. */
const CONTROLLED: readonly Family[] = [
  {
    textToImage: StableDiffusionControlNetPipeline,
    imageToImage: StableDiffusionControlNetImg2ImgPipeline,
    inpainting: StableDiffusionControlNetInpaintPipeline,
  },
  {
    textToImage: StableDiffusionXLControlNetPipeline,
    imageToImage: StableDiffusionXLControlNetImg2ImgPipeline,
    inpainting: StableDiffusionXLControlNetInpaintPipeline,
  },
]

/** What a pipeline makes pictures from. */
export type TaskName = 'textToImage' | 'imageToImage' | 'inpainting'

/** A pipeline class for each task. */
export type Family = Partial<Record<TaskName, { readonly name: string }>>

/** The pipelines of a class's family by task; throws `ConfigError` for a class that belongs to none. */
export function familyOf(className: string, controlled: boolean): Family {
  const has = (family: Family): boolean => Object.values(family).some((pipeline) => pipeline.name === className)
  const index = has(DECODERS) ? FAMILIES.length - 1 : Math.max(FAMILIES.findIndex(has), CONTROLLED.findIndex(has))
  const found = (controlled ? CONTROLLED : FAMILIES)[index]
  if (found === undefined) {
    const known = FAMILIES.flatMap((family) => Object.values(family).map((pipeline) => pipeline.name))
    throw new ConfigError(
      `Expected one of ${known.join(', ')} for _class_name in model_index.json but received ${JSON.stringify(className)}`,
    )
  }
  return found
}
