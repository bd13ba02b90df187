import { type InspectOptions, inspect } from 'node:util'
import { DisposedError, expected, guard } from './errors.ts'
import type { NativeTensor } from './native.ts'
import {
  BYTES_PER_ELEMENT,
  type Device,
  type DType,
  elementCount,
  type NestedNumbers,
  nest,
  type TensorArray,
  typedView,
} from './tensor-data.ts'

/** The native handle of a Tensor; throws `InvalidArgumentError` for anything else and `DisposedError` after `dispose()`. */
export let handleOf: (tensor: unknown, name: string) => NativeTensor

/** What a tensor is and holds: its facts, its elements copied out, and the end of its memory. */
export abstract class TensorHandle implements Disposable {
  #handle: NativeTensor | undefined
  readonly #shape: readonly number[]
  /** Element type. */
  readonly dtype: DType
  /** Device that holds the data. */
  readonly device: Device

  protected constructor(handle: NativeTensor) {
    this.#handle = handle
    this.#shape = Object.freeze(handle.shape)
    this.dtype = handle.dtype as DType
    this.device = handle.device as Device
  }

  static {
    handleOf = (tensor, name) => {
      if (!(typeof tensor === 'object' && tensor !== null && #handle in tensor)) {
        throw expected('a Tensor', name, tensor)
      }
      if (tensor.#handle === undefined) {
        throw new DisposedError(`Expected a Tensor in use${name === 'this' ? '' : ` for ${name}`} but received a disposed one`)
      }
      return tensor.#handle
    }
  }

  /** Size of each dimension. */
  get shape(): readonly number[] {
    return this.#shape
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.#shape)
  }

  /** Bytes of the elements. */
  get byteLength(): number {
    return this.size * BYTES_PER_ELEMENT[this.dtype]
  }

  /** True after `dispose()`. */
  get disposed(): boolean {
    return this.#handle === undefined
  }

  /**
   * Copies the elements out, in row-major order: Float32Array for f32, f16 and bf16, Float64Array for f64, BigInt64Array for i64,
   * Uint32Array for u32, Uint8Array for u8. Name the type for other dtypes than the usual ones: `ids.toArray<BigInt64Array>()`.
   */
  toArray<T extends TensorArray = Float32Array>(): T {
    const bytes = guard(() => handleOf(this, 'this').toBytes())
    return typedView(bytes, this.dtype) as T
  }

  /** Copies the elements out as nested arrays of numbers. */
  tolist(): NestedNumbers {
    return nest(this.toArray<TensorArray>(), this.#shape)
  }

  /** The only element as a number. */
  item(): number {
    if (this.size !== 1) {
      throw expected('a Tensor of exactly one element', 'this', this)
    }
    return Number(this.toArray<TensorArray>()[0])
  }

  /** Frees the native memory, unless another handle or running work still uses it. Safe to call twice. */
  dispose(): void {
    this.#handle?.dispose()
    this.#handle = undefined
  }

  /** Same as `dispose()`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  /** Dtype and shape in one line. */
  toString(): string {
    return `Tensor ${this.dtype} [${this.#shape.join(', ')}]${this.disposed ? ' (disposed)' : ''}`
  }

  /** What console.log shows. */
  [inspect.custom](_depth: number, _options: InspectOptions): string {
    return this.toString()
  }
}
