import { checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import type { Guidance, GuidanceRow } from './guidance.ts'

const positive: GuidanceRow = { prompt: 'positive' }
const negative: GuidanceRow = { prompt: 'negative' }

/** Options of `ImageTextGuidance`. */
export interface ImageTextGuidanceOptions {
  /** Weight of the prompt; off at 1 and below. @default 7.5 */
  scale?: number
  /** Weight of the picture; off below 1. @default 1.5 */
  imageScale?: number
}

/**
 * Guidance by a prompt and a picture: `none + imageScale * (picture - none) + scale * (both - picture)`, in one UNet call of three blocks
 * (prompt and picture, picture, neither).
 *
 * Source: arXiv:2211.09800 section 3.2.1; diffusers `StableDiffusionInstructPix2PixPipeline`.
 */
export class ImageTextGuidance implements Guidance {
  readonly scale: number
  readonly imageScale: number
  readonly rows: readonly GuidanceRow[]

  constructor({ scale = 7.5, imageScale = 1.5 }: ImageTextGuidanceOptions = {}) {
    this.scale = checkNumber('scale', scale)
    this.imageScale = checkNumber('imageScale', imageScale)
    this.rows = scale > 1 && imageScale >= 1 ? [positive, negative, negative] : [positive]
  }

  combine(predictions: readonly Tensor[]): Tensor {
    const [both, picture, none] = predictions
    if (both === undefined || predictions.length !== this.rows.length) {
      throw expected(`${this.rows.length} predictions`, 'predictions', predictions.length)
    }
    if (picture === undefined || none === undefined) {
      return both.clone()
    }
    return Tensor.linearCombination([
      [this.scale, both],
      [this.imageScale - this.scale, picture],
      [1 - this.imageScale, none],
    ])
  }

  withScale(scale: number): ImageTextGuidance {
    return new ImageTextGuidance({ scale, imageScale: this.imageScale })
  }
}
