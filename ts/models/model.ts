import { DisposedError } from '../errors.ts'
import type { Device } from '../tensor-data.ts'

/**
 * Types that weights can be kept in. Arithmetic is f32 whatever the float type. `int8` keeps the linear layers of a UNet's transformers as bytes with one
 * scale per output channel and multiplies them as bytes; everything else is f16 then.
 */
export type WeightsDType = 'f32' | 'f16' | 'bf16' | 'int8'

/** What every neural network of the SDK has in common: where it lives, and how it is freed. */
export abstract class Model {
  /** Type that the weights are kept in. */
  readonly dtype: WeightsDType
  /** Device that it runs on. */
  readonly device: Device
  #release: (() => void) | undefined

  protected constructor(place: { dtype: WeightsDType; device: Device }, release: () => void) {
    this.dtype = place.dtype
    this.device = place.device
    this.#release = release
  }

  /** True after `dispose()`. */
  get disposed(): boolean {
    return this.#release === undefined
  }

  /** Frees the weights; calls that are already running finish first. Safe to call twice. */
  dispose(): void {
    this.#release?.()
    this.#release = undefined
  }

  /** Same as `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }

  /** Throws `DisposedError` after `dispose()`. */
  protected assertUsable(): void {
    if (this.disposed) {
      throw new DisposedError(`Expected a ${this.constructor.name} in use for this call but received a disposed one`)
    }
  }
}
