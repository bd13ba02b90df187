import { expected } from '../errors.ts'
import { Tensor } from '../tensor.ts'

/** The prompt that one block of the UNet batch is conditioned on; a block holds every image of the call once. */
export type PromptRow = 'positive' | 'negative'

/**
 * How the predictions of one UNet call become the one that the sampler gets. A value: immutable, without run state, so that
 * one may serve many calls at once.
 */
export interface Guidance {
  /** Blocks of the UNet batch, in order. */
  readonly rows: readonly PromptRow[]
  /** Guidance scale; 1 and below mean "no guidance". */
  readonly scale: number
  /** Combines one prediction (B, C, H, W) per entry of `rows` into one (B, C, H, W); the inputs stay valid. */
  combine(predictions: readonly Tensor[]): Tensor
  /** The same guidance with another scale. */
  withScale(scale: number): Guidance
}

/** Options of `ClassifierFreeGuidance`. */
export interface ClassifierFreeGuidanceOptions {
  /** Weight of the prompt against the negative prompt; off at 1 and below. @default 7.5 */
  scale?: number
  /** Share, 0 to 1, in which the result is brought back to the standard deviation of the prompt's prediction. @default 0 */
  rescale?: number
}

/**
 * Classifier-free guidance: `negative + scale * (positive - negative)` in one batched UNet call, or the plain prediction where
 * `scale <= 1`.
 *
 * Source: arXiv:2207.12598; rescale: arXiv:2305.08891 section 3.4, diffusers `rescale_noise_cfg`.
 */
export class ClassifierFreeGuidance implements Guidance {
  readonly scale: number
  readonly rescale: number
  readonly rows: readonly PromptRow[]

  constructor({ scale = 7.5, rescale = 0 }: ClassifierFreeGuidanceOptions = {}) {
    if (typeof scale !== 'number' || !Number.isFinite(scale)) {
      throw expected('a finite number', 'scale', scale)
    }
    if (typeof rescale !== 'number' || !(rescale >= 0 && rescale <= 1)) {
      throw expected('a number from 0 to 1', 'rescale', rescale)
    }
    this.scale = scale
    this.rescale = rescale
    this.rows = scale > 1 ? ['negative', 'positive'] : ['positive']
  }

  combine(predictions: readonly Tensor[]): Tensor {
    const [first, positive] = predictions
    if (first === undefined || predictions.length !== this.rows.length) {
      throw expected(`${this.rows.length} predictions`, 'predictions', predictions.length)
    }
    if (positive === undefined) {
      return first.clone()
    }
    const guided = Tensor.linearCombination([
      [1 - this.scale, first],
      [this.scale, positive],
    ])
    if (this.rescale === 0) {
      return guided
    }
    using unscaled = guided
    return rescaleToStd(unscaled, positive, this.rescale)
  }

  withScale(scale: number): ClassifierFreeGuidance {
    return new ClassifierFreeGuidance({ scale, rescale: this.rescale })
  }
}

/** `share * guided * std(positive) / std(guided) + (1 - share) * guided`, the deviations taken per image. */
function rescaleToStd(guided: Tensor, positive: Tensor, share: number): Tensor {
  const dims = guided.shape.map((_, i) => i).slice(1)
  using target = positive.std(dims, true)
  using actual = guided.std(dims, true)
  using ratio = target.div(actual)
  using mixed = ratio.mul(share)
  using factor = mixed.add(1 - share)
  return guided.mul(factor)
}
