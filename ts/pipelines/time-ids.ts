import { ConfigError } from '../errors.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { Tensor } from '../tensor.ts'

/** Height and width in pixels, or top and left. */
export type Pair = [number, number]

/** Numbers that the UNet is told with each half of its batch. */
export type TimeIds = { positive: number[]; negative: number[] }

/** SDXL's micro-conditioning: what sizes the model is told about. */
export interface SizeConditioning {
  /** Size that the picture pretends to have had, (height, width). @default the picture's */
  originalSize?: Pair
  /** Where it pretends to have been cropped, (top, left). @default [0, 0] */
  cropsCoordsTopLeft?: Pair
  /** Size that the picture pretends to have, (height, width). @default the picture's */
  targetSize?: Pair
  /** The same for the negative prompt. @default `originalSize` */
  negativeOriginalSize?: Pair
  /** @default [0, 0] */
  negativeCropsCoordsTopLeft?: Pair
  /** @default `targetSize` */
  negativeTargetSize?: Pair
}

/** The refiner's aesthetic scores. */
export interface AestheticScores {
  /** Score that the picture should have. @default 6 */
  aestheticScore?: number
  /** Score to steer away from. @default 2.5 */
  negativeAestheticScore?: number
}

/** The ids of a call: pipelines that change a picture have aesthetic scores among their options, and other fallbacks. */
export function timeIds(options: SizeConditioning & AestheticScores, picture: Pair, scored = false): TimeIds {
  return options.aestheticScore === undefined ? textToImageIds(options, picture) : imageToImageIds(options, picture, scored)
}

/** Text-to-image ids: the negative ones differ only if both negative sizes are given. Source: diffusers `StableDiffusionXLPipeline.__call__`. */
export function textToImageIds(
  { originalSize, cropsCoordsTopLeft = [0, 0], targetSize, ...negative }: SizeConditioning,
  picture: Pair,
): TimeIds {
  const positive = [...(originalSize ?? picture), ...cropsCoordsTopLeft, ...(targetSize ?? picture)]
  const { negativeOriginalSize: size, negativeCropsCoordsTopLeft: crops = [0, 0], negativeTargetSize: target } = negative
  return { positive, negative: size && target ? [...size, ...crops, ...target] : positive }
}

/**
 * Image-to-image ids, with aesthetic scores in place of target sizes for the refiner.
 *
 * Without scores the negative crop is the positive one. Source: diffusers `StableDiffusionXLImg2ImgPipeline._get_add_time_ids`.
 */
export function imageToImageIds(options: SizeConditioning & AestheticScores, picture: Pair, scored: boolean): TimeIds {
  const { originalSize = picture, cropsCoordsTopLeft: crops = [0, 0], targetSize = picture } = options
  const { negativeOriginalSize = originalSize, negativeCropsCoordsTopLeft = [0, 0], negativeTargetSize = targetSize } = options
  const { aestheticScore = 6, negativeAestheticScore = 2.5 } = options
  return scored
    ? {
        positive: [...originalSize, ...crops, aestheticScore],
        negative: [...negativeOriginalSize, ...negativeCropsCoordsTopLeft, negativeAestheticScore],
      }
    : { positive: [...originalSize, ...crops, ...targetSize], negative: [...negativeOriginalSize, ...crops, ...negativeTargetSize] }
}

/** One row of ids per image; throws `ConfigError` if the UNet wants another number of them. */
export function timeIdsTensor(ids: readonly number[], images: number, unet: UNet2DConditionModel, pooledWidth: number): Tensor {
  const { addition_time_embed_dim: dim, projection_class_embeddings_input_dim: wanted } = unet.config
  if (dim !== null && wanted !== null && dim * ids.length + pooledWidth !== wanted) {
    const hint = 'requires_aesthetics_score of the pipeline says whether the ids end with a score (5) or a size (6)'
    throw new ConfigError(`Expected ${(wanted - pooledWidth) / dim} time ids for the UNet but received ${ids.length}; ${hint}`)
  }
  return Tensor.from(Array.from({ length: images }, () => [...ids]))
}
