import type { Image } from '../image/image.ts'
import type { Tensor } from '../tensor.ts'
import type { Seed } from './seeds.ts'

/** Where the time of a call went, in milliseconds. */
export interface Timings {
  /** Loading the pipeline, where it was loaded from a folder. */
  load?: number
  encode: number
  denoise: number
  decode: number
}

/** What every result says beside its pictures. */
export interface ResultInfo {
  /** Seed of each image. */
  seeds: Seed[]
  timings: Timings
  /** Text that did not fit into the text encoder, one entry per prompt that lost some. */
  truncated: string[]
  /** True after an abort with `onAbort: 'return-partial'`. */
  partial: boolean
  /** One verdict per image where the pipeline has a safety checker. */
  nsfwContentDetected?: boolean[]
}

/** Result of `outputType: 'image'`: one picture per prompt and per image of it. */
export interface ImagesResult extends ResultInfo {
  images: [Image, ...Image[]]
  latents?: undefined
  tensor?: undefined
}

/** Result of `outputType: 'latent'`: scaled latents (images, channels, height / 8, width / 8). */
export interface LatentsResult extends ResultInfo {
  images?: undefined
  latents: Tensor
  tensor?: undefined
}

/** Result of `outputType: 'tensor'`: pixels (images, 3, height, width) from 0 to 1. */
export interface TensorResult extends ResultInfo {
  images?: undefined
  latents?: undefined
  tensor: Tensor
}

/** Result types by `outputType`. */
export interface Results {
  image: ImagesResult
  latent: LatentsResult
  tensor: TensorResult
}

/** Any result. */
export type GenerateResult = Results[keyof Results]
