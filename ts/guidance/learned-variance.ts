import { expected } from '../errors.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Guidance, GuidanceRow, GuidanceStep } from './guidance.ts'

/**
 * Guidance of a network that also predicts variances, with the second half of its channels: the noise is guided, the variance is the prompt's.
 *
 * For samplers with a learned variance. Source: diffusers `KandinskyV22Pipeline.__call__`.
 */
export class LearnedVarianceGuidance implements Guidance {
  readonly rows: readonly GuidanceRow[]
  readonly scale: number
  readonly #noise: Guidance

  constructor(noise: Guidance) {
    this.#noise = noise
    this.rows = noise.rows
    this.scale = noise.scale
  }

  combine(predictions: readonly Tensor[], step: GuidanceStep): Tensor {
    const last = predictions.at(-1)
    const channels = (last?.shape[1] ?? 0) / 2
    if (last === undefined || !Number.isInteger(channels)) {
      throw expected('predictions of noise and variance, an even number of channels,', 'predictions', last)
    }
    using scope = new Scope()
    const noise = predictions.map((prediction) => scope.keep(prediction.slice(1, 0, channels)))
    return Tensor.cat([scope.keep(this.#noise.combine(noise, step)), scope.keep(last.slice(1, channels))], 1)
  }

  withScale(scale: number): LearnedVarianceGuidance {
    return new LearnedVarianceGuidance(this.#noise.withScale(scale))
  }
}
