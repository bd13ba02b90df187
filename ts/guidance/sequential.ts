import type { Tensor } from '../tensor.ts'
import type { Guidance, GuidanceRow, GuidanceStep, PartWeight } from './guidance.ts'

/**
 * The same guidance, with a UNet call of its own for each row: about the same time, and the memory of one row.
 *
 * ```ts
 * await pipe.generate({ prompt, guidance: sequential(new ClassifierFreeGuidance({ scale: 7.5 })) })
 * ```
 */
export function sequential(guidance: Guidance): Guidance {
  return new SequentialGuidance(guidance)
}

class SequentialGuidance implements Guidance {
  readonly calls = 'sequential'
  readonly rows: readonly GuidanceRow[]
  readonly scale: number
  readonly #inner: Guidance

  constructor(inner: Guidance) {
    this.#inner = inner
    this.rows = inner.rows
    this.scale = inner.scale
  }

  combine(predictions: readonly Tensor[], step: GuidanceStep): Tensor {
    return this.#inner.combine(predictions, step)
  }

  withScale(scale: number): Guidance {
    return sequential(this.#inner.withScale(scale))
  }

  get withParts(): Guidance['withParts'] {
    const { withParts } = this.#inner
    return withParts && ((weights: readonly PartWeight[]) => sequential(withParts.call(this.#inner, weights)))
  }
}
