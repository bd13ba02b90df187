import { checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import { type Guidance, type GuidanceRow, type GuidanceStep, rescaleToStd } from './guidance.ts'

/** Options of `PerturbedAttentionGuidance`. */
export interface PerturbedAttentionGuidanceOptions {
  /** Weight of the prompt against the negative prompt; off at 1 and below. @default 7.5 */
  scale?: number
  /** Weight of the plain prediction against the perturbed one. @default 3 */
  pagScale?: number
  /** How much of `pagScale` is lost with each timestep below 1000; 0 keeps it. @default 0 */
  adaptiveScale?: number
  /** Self-attention layers whose map becomes the identity: regular expressions over their names. @default 'mid' */
  layers?: string | readonly string[]
  /** Share, 0 to 1, in which the result is brought back to the standard deviation of the prompt's prediction. @default 0 */
  rescale?: number
}

/**
 * Perturbed-attention guidance: `guided + pagScale * (positive - perturbed)`, beside classifier-free guidance or alone, in one UNet call.
 *
 * Source: arXiv:2403.17377; diffusers `PAGMixin`.
 */
export class PerturbedAttentionGuidance implements Guidance {
  readonly scale: number
  readonly rows: readonly GuidanceRow[]
  readonly #options: Required<PerturbedAttentionGuidanceOptions>

  constructor(options: PerturbedAttentionGuidanceOptions = {}) {
    const { scale = 7.5, pagScale = 3, adaptiveScale = 0, layers = 'mid', rescale = 0 } = options
    const patterns = (typeof layers === 'string' ? [layers] : layers) as readonly unknown[]
    if (!Array.isArray(patterns) || patterns.length === 0 || !patterns.every((pattern) => typeof pattern === 'string' && pattern !== '')) {
      throw expected('a string or a non-empty array of strings', 'layers', layers)
    }
    this.#options = {
      scale: checkNumber('scale', scale),
      pagScale: checkNumber('pagScale', pagScale, { min: 0 }),
      adaptiveScale: checkNumber('adaptiveScale', adaptiveScale, { min: 0 }),
      rescale: checkNumber('rescale', rescale, { min: 0, max: 1 }),
      layers: patterns as string[],
    }
    this.scale = scale
    const positive: GuidanceRow = { prompt: 'positive' }
    this.rows = [
      ...(scale > 1 ? [{ prompt: 'negative' } as const] : []),
      positive,
      ...(pagScale > 0 ? [{ ...positive, perturb: patterns as string[] }] : []),
    ]
  }

  combine(predictions: readonly Tensor[], { timestep }: GuidanceStep): Tensor {
    if (predictions.length !== this.rows.length) {
      throw expected(`${this.rows.length} predictions`, 'predictions', predictions.length)
    }
    const { scale, rescale, pagScale } = this.#options
    const guided = scale > 1
    const [negative, positive, perturbed] = guided ? predictions : [undefined, ...predictions]
    const weight = perturbed === undefined ? 0 : this.#weightAt(timestep, pagScale)
    const main = positive as Tensor
    const terms: [number, Tensor][] = [
      ...(negative === undefined ? [] : [[1 - scale, negative] as [number, Tensor]]),
      [(guided ? scale : 1) + weight, main],
      ...(perturbed === undefined ? [] : [[-weight, perturbed] as [number, Tensor]]),
    ]
    const sum = Tensor.linearCombination(terms)
    if (rescale === 0 || !guided) {
      return sum
    }
    using unscaled = sum
    return rescaleToStd(unscaled, main, rescale)
  }

  withScale(scale: number): PerturbedAttentionGuidance {
    return new PerturbedAttentionGuidance({ ...this.#options, scale })
  }

  #weightAt(timestep: number, pagScale: number): number {
    return Math.max(0, pagScale - this.#options.adaptiveScale * (1000 - timestep))
  }
}
