import { expected } from '../errors.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'

/** One block of the UNet batch: what conditions it. A block holds every image of the call once. */
export interface GuidanceRow {
  readonly prompt: 'positive' | 'negative'
  /** Which of several prompts joined by `AND`. @default 0 */
  readonly part?: number
  /** Self-attention layers that are perturbed for this block, as `Perturbation.layers`; such blocks stand last. @default none */
  readonly perturb?: readonly string[]
}

/** Where in a run a prediction is made. */
export interface GuidanceStep {
  /** 0-based UNet call. */
  readonly index: number
  /** UNet calls of the run. */
  readonly total: number
  readonly timestep: number
}

/**
 * How the predictions of one UNet call become the one that the sampler gets. A value: immutable, without run state, so that
 * one may serve many calls at once.
 */
export interface Guidance {
  /** Blocks of the UNet batch, in order. */
  readonly rows: readonly GuidanceRow[]
  /** Guidance scale; 1 and below mean "no guidance". */
  readonly scale: number
  /** One UNet call for all rows, or one each, which takes less memory. @default 'batched' */
  readonly calls?: 'batched' | 'sequential'
  /** Combines one prediction (B, C, H, W) per entry of `rows` into one (B, C, H, W); the inputs stay valid. */
  combine(predictions: readonly Tensor[], step: GuidanceStep): Tensor
  /** The same guidance with another scale. */
  withScale(scale: number): Guidance
  /** The same guidance towards several prompts at once; absent where that has no meaning. */
  withParts?(weights: readonly PartWeight[]): Guidance
}

/** How strongly one of several prompts pulls: one number, or one for each image of the call. */
export type PartWeight = number | readonly number[]

/** Options of `ClassifierFreeGuidance`. */
export interface ClassifierFreeGuidanceOptions {
  /** Weight of the prompt against the negative prompt; off at 1 and below. @default 7.5 */
  scale?: number
  /** Share, 0 to 1, in which the result is brought back to the standard deviation of the prompt's prediction. @default 0 */
  rescale?: number
  /** Weights of several prompts, each of which pulls by itself. @default [1] */
  parts?: readonly PartWeight[]
}

/**
 * Classifier-free guidance in one batched UNet call: `negative + scale * sum of weight * (positive - negative)` over the parts, or the
 * plain prediction where there is one part of weight 1 and `scale <= 1`.
 *
 * Source: arXiv:2207.12598; parts: arXiv:2206.01714, stable-diffusion-webui `CFGDenoiser.combine_denoised`; rescale: arXiv:2305.08891
 * section 3.4, diffusers `rescale_noise_cfg`.
 */
export class ClassifierFreeGuidance implements Guidance {
  readonly scale: number
  readonly rescale: number
  readonly parts: readonly PartWeight[]
  readonly rows: readonly GuidanceRow[]

  constructor({ scale = 7.5, rescale = 0, parts = [1] }: ClassifierFreeGuidanceOptions = {}) {
    if (typeof scale !== 'number' || !Number.isFinite(scale)) {
      throw expected('a finite number', 'scale', scale)
    }
    if (typeof rescale !== 'number' || !(rescale >= 0 && rescale <= 1)) {
      throw expected('a number from 0 to 1', 'rescale', rescale)
    }
    if (!Array.isArray(parts) || parts.length === 0 || !parts.flat().every(Number.isFinite)) {
      throw expected('a non-empty array of finite numbers, or of arrays of them,', 'parts', parts)
    }
    this.scale = scale
    this.rescale = rescale
    this.parts = parts
    const positive = parts.map((_, part): GuidanceRow => ({ prompt: 'positive', part }))
    const plain = scale <= 1 && parts.length === 1 && parts[0] === 1
    this.rows = plain ? positive : [{ prompt: 'negative' }, ...positive]
  }

  combine(predictions: readonly Tensor[]): Tensor {
    const [first, ...positive] = predictions
    const [, main] = predictions
    if (first === undefined || predictions.length !== this.rows.length) {
      throw expected(`${this.rows.length} predictions`, 'predictions', predictions.length)
    }
    if (main === undefined) {
      return first.clone()
    }
    const guided = this.#guide(first, positive)
    if (this.rescale === 0) {
      return guided
    }
    using unscaled = guided
    return rescaleToStd(unscaled, main, this.rescale)
  }

  #guide(negative: Tensor, positive: readonly Tensor[]): Tensor {
    using scope = new Scope()
    const terms = positive.map((prediction, i): [number, Tensor] => {
      const weight = this.parts[i] ?? 1
      return typeof weight === 'number'
        ? [this.scale * weight, prediction]
        : [this.scale, scope.keep(weighted(prediction, negative, weight))]
    })
    return Tensor.linearCombination([[1 - terms.reduce((sum, [share]) => sum + share, 0), negative], ...terms])
  }

  withScale(scale: number): ClassifierFreeGuidance {
    return new ClassifierFreeGuidance({ scale, rescale: this.rescale, parts: this.parts })
  }

  withParts(parts: readonly PartWeight[]): ClassifierFreeGuidance {
    return new ClassifierFreeGuidance({ scale: this.scale, rescale: this.rescale, parts })
  }
}

/** `negative + weight * (positive - negative)` with a weight for each image. */
function weighted(positive: Tensor, negative: Tensor, weights: readonly number[]): Tensor {
  using factors = Tensor.from([...weights], [weights.length, 1, 1, 1], 'f32')
  using difference = positive.sub(negative)
  using scaled = difference.mul(factors)
  return negative.add(scaled)
}

/** `share * guided * std(positive) / std(guided) + (1 - share) * guided`, the deviations taken per image. */
export function rescaleToStd(guided: Tensor, positive: Tensor, share: number): Tensor {
  const dims = guided.shape.map((_, i) => i).slice(1)
  using target = positive.std(dims, true)
  using actual = guided.std(dims, true)
  using ratio = target.div(actual)
  using mixed = ratio.mul(share)
  using factor = mixed.add(1 - share)
  return guided.mul(factor)
}
