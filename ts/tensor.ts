import { abortable } from './abort.ts'
import { checkInteger, checkIntegers, checkNumber, checkSizes, checkString } from './checks.ts'
import { expected, guard } from './errors.ts'
import { type NativeTensor, native } from './native.ts'
import { checkDtype, readTarget, wrapIndex } from './tensor-checks.ts'
import { type Device, type DType, elementCount, type NestedNumbers, rawFrom, type TypedArray } from './tensor-data.ts'
import { handleOf, TensorHandle } from './tensor-handle.ts'

export { handleOf }

type Reduction = 'sum' | 'mean' | 'std' | 'min' | 'max'

/** Makes a Tensor around a native handle; only for this package's own modules. */
export let wrapTensor: (handle: NativeTensor) => Tensor

/**
 * A multi-dimensional array in native memory, immutable apart from `dispose()`.
 *
 * Arithmetic broadcasts like NumPy and promotes mixed dtypes (u8 < u32 < i64 < bf16, f16 < f32 < f64; bf16 with f16 gives f32).
 * Negative dimensions count from the end. Memory is known to V8 and freed by the collector; `dispose()` frees it at once.
 */
export class Tensor extends TensorHandle {
  private constructor(handle: NativeTensor) {
    super(handle)
  }

  static {
    wrapTensor = (handle) => new Tensor(handle)
  }

  /**
   * Copies numbers into a new CPU tensor.
   *
   * `shape` defaults to the shape of the nesting, or to one dimension for typed arrays. `dtype` defaults to the array's own type
   * (f32 for plain numbers and integer arrays without a tensor type of their own).
   */
  static from(data: TypedArray | NestedNumbers, shape?: readonly number[], dtype?: DType): Tensor {
    const raw = rawFrom(data, shape === undefined ? undefined : checkSizes('shape', shape))
    const own = raw.source === 'f64' && !(data instanceof Float64Array) ? 'f32' : raw.source
    const target = dtype === undefined ? own : checkDtype(dtype)
    return wrapTensor(guard(() => native.NativeTensor.fromBytes(raw.bytes, raw.source, raw.shape, target)))
  }

  /** A tensor of zeros; `dtype` defaults to f32. */
  static zeros(shape: readonly number[], dtype: DType = 'f32'): Tensor {
    return Tensor.full(shape, 0, dtype)
  }

  /** A tensor of ones; `dtype` defaults to f32. */
  static ones(shape: readonly number[], dtype: DType = 'f32'): Tensor {
    return Tensor.full(shape, 1, dtype)
  }

  /** A tensor with the same number everywhere; `dtype` defaults to f32. */
  static full(shape: readonly number[], value: number, dtype: DType = 'f32'): Tensor {
    const sizes = checkSizes('shape', shape)
    if (typeof value !== 'number') {
      throw expected('a number', 'value', value)
    }
    return wrapTensor(guard(() => native.NativeTensor.full(sizes, value, checkDtype(dtype))))
  }

  /** Joins tensors along an existing dimension (default 0); all other sizes and the dtypes must agree. */
  static cat(tensors: readonly Tensor[], dim = 0): Tensor {
    const handles = handlesOf(tensors)
    return wrapTensor(guard(() => native.NativeTensor.cat(handles, checkInteger('dim', dim))))
  }

  /** Joins tensors of one shape along a new dimension (default 0). */
  static stack(tensors: readonly Tensor[], dim = 0): Tensor {
    const handles = handlesOf(tensors)
    return wrapTensor(guard(() => native.NativeTensor.stack(handles, checkInteger('dim', dim))))
  }

  /** `Σ weight · tensor` over tensors of one shape, accumulated in f64 and rounded once. */
  static linearCombination(terms: readonly (readonly [number, Tensor])[]): Tensor {
    if (!Array.isArray(terms) || terms.length === 0) {
      throw expected('a non-empty array of [number, Tensor]', 'terms', terms)
    }
    const weights = terms.map((term: unknown, i) => checkNumber(`terms[${i}][0]`, Array.isArray(term) ? term[0] : term))
    const handles = terms.map((term, i) => handleOf(term[1], `terms[${i}][1]`))
    return wrapTensor(guard(() => native.NativeTensor.linearCombination(weights, handles)))
  }

  /** Reads every tensor of a safetensors file, off the JavaScript thread. */
  static async loadSafetensors(path: string, options: { signal?: AbortSignal } = {}): Promise<Record<string, Tensor>> {
    checkString('path', path)
    const { names, tensors } = await abortable(options.signal, (token) => native.loadSafetensors(path, token))
    return Object.fromEntries(tensors.map((handle, i) => [names[i], wrapTensor(handle)]))
  }

  /** Writes tensors to a safetensors file through a temporary name, so that no half-written file is left behind. */
  static async saveSafetensors(path: string, tensors: Record<string, Tensor>, options: { signal?: AbortSignal } = {}): Promise<void> {
    checkString('path', path)
    const names = Object.keys(tensors)
    const handles = names.map((name) => handleOf(tensors[name], `tensors[${JSON.stringify(name)}]`))
    await abortable(options.signal, (token) => native.saveSafetensors(path, names, handles, token))
  }

  /** Element-wise `this + other`. */
  add(other: Tensor | number): Tensor {
    return this.#binary('add', other)
  }

  /** Element-wise `this - other`. */
  sub(other: Tensor | number): Tensor {
    return this.#binary('sub', other)
  }

  /** Element-wise `this · other`. */
  mul(other: Tensor | number): Tensor {
    return this.#binary('mul', other)
  }

  /** Element-wise `this / other`; integers divide as f32. */
  div(other: Tensor | number): Tensor {
    return this.#binary('div', other)
  }

  /** The greater of the two, element by element. */
  maximum(other: Tensor | number): Tensor {
    return this.#binary('maximum', other)
  }

  /** The smaller of the two, element by element. */
  minimum(other: Tensor | number): Tensor {
    return this.#binary('minimum', other)
  }

  /** Element-wise `this ** exponent`. */
  pow(exponent: number): Tensor {
    return this.#map((handle) => handle.scalar('pow', checkNumber('exponent', exponent)))
  }

  /** Element-wise `-this`. */
  neg(): Tensor {
    return this.#map((handle) => handle.unary('neg'))
  }

  /** Element-wise absolute value. */
  abs(): Tensor {
    return this.#map((handle) => handle.unary('abs'))
  }

  /** Element-wise square root. */
  sqrt(): Tensor {
    return this.#map((handle) => handle.unary('sqrt'))
  }

  /** Element-wise `e ** this`. */
  exp(): Tensor {
    return this.#map((handle) => handle.unary('exp'))
  }

  /** Element-wise natural logarithm. */
  log(): Tensor {
    return this.#map((handle) => handle.unary('log'))
  }

  /** Element-wise sine, of radians. */
  sin(): Tensor {
    return this.#map((handle) => handle.unary('sin'))
  }

  /** Element-wise cosine, of radians. */
  cos(): Tensor {
    return this.#map((handle) => handle.unary('cos'))
  }

  /** Nearest whole number, halves to even. */
  round(): Tensor {
    return this.#map((handle) => handle.unary('round'))
  }

  /** Limits every element to `low..high`. */
  clamp(low: number, high: number): Tensor {
    for (const [name, value] of [
      ['low', low],
      ['high', high],
    ] as const) {
      if (typeof value !== 'number' || Number.isNaN(value)) {
        throw expected('a number', name, value)
      }
    }
    return this.#map((handle) => handle.clamp(low, high))
  }

  /** Splits into `count` equal parts along a dimension; the last is smaller when the size does not divide. */
  chunk(count: 2, dim?: number): [Tensor, Tensor]
  chunk(count: 3, dim?: number): [Tensor, Tensor, Tensor]
  chunk(count: number, dim?: number): Tensor[]
  chunk(count: number, dim = 0): Tensor[] {
    checkInteger('count', count, { min: 1 })
    const axis = this.#axis(dim)
    const size = this.shape[axis] ?? 0
    const step = Math.max(1, Math.ceil(size / count))
    if (Math.ceil(size / step) !== count) {
      throw expected(`a number of parts that ${size} can be cut into`, 'count', count)
    }
    return Array.from({ length: Math.ceil(size / step) }, (_, i) => this.slice(axis, i * step, Math.min(size, (i + 1) * step)))
  }

  /** Elements `start..end` of a dimension (end excluded, default the size; negative counts from the end). A view: no copy. */
  slice(dim: number, start: number, end?: number): Tensor {
    const axis = this.#axis(dim)
    const size = this.shape[axis] ?? 0
    const from = wrapIndex(checkInteger('start', start), size)
    const to = end === undefined ? size : wrapIndex(checkInteger('end', end), size)
    return this.#map((handle) => handle.slice(axis, from, Math.max(0, to - from)))
  }

  /** Selects one entry of dimension 0, which disappears. */
  index(i: number): Tensor {
    const size = this.shape[0]
    if (size === undefined) {
      throw expected('a Tensor with at least one dimension', 'this', this)
    }
    const at = checkInteger('i', i, { min: -size, max: size - 1 })
    const start = at < 0 ? at + size : at
    return this.#map((handle) => handle.slice(0, start, 1).reshape(this.shape.slice(1)))
  }

  /** The same elements in another shape; one size may be -1 and is then worked out. */
  reshape(shape: readonly number[]): Tensor {
    const sizes = checkSizes('shape', shape, -1)
    const open = sizes.indexOf(-1)
    if (open >= 0) {
      const known = sizes.reduce((product, size, i) => (i === open ? product : product * size), 1)
      sizes[open] = known === 0 ? 0 : this.size / known
    }
    if (sizes.some((size) => !Number.isInteger(size) || size < 0) || elementCount(sizes) !== this.size) {
      throw expected(`a shape of ${this.size} elements`, 'shape', shape)
    }
    return this.#map((handle) => handle.reshape(sizes))
  }

  /** Exchanges two dimensions. */
  transpose(a: number, b: number): Tensor {
    const order = this.shape.map((_, i) => i)
    const [from, to] = [this.#axis(a), this.#axis(b)]
    order[from] = to
    order[to] = from
    return this.permute(order)
  }

  /** Reorders the dimensions. */
  permute(dims: readonly number[]): Tensor {
    const order = checkIntegers('dims', dims).map((dim) => this.#axis(dim))
    if (order.length !== this.shape.length || new Set(order).size !== order.length) {
      throw expected(`each of ${this.shape.length} dimensions once`, 'dims', dims)
    }
    return this.#map((handle) => handle.permute(order))
  }

  /** Inserts a dimension of size 1. */
  unsqueeze(dim: number): Tensor {
    const rank = this.shape.length + 1
    const at = checkInteger('dim', dim, { min: -rank, max: rank - 1 })
    const shape = [...this.shape]
    shape.splice(at < 0 ? at + rank : at, 0, 1)
    return this.reshape(shape)
  }

  /** Removes one dimension of size 1, or all of them. */
  squeeze(dim?: number): Tensor {
    const axis = dim === undefined ? undefined : this.#axis(dim)
    return this.reshape(this.shape.filter((size, i) => size !== 1 || (axis !== undefined && axis !== i)))
  }

  /** Repeats dimensions of size 1 up to `shape` (new ones in front, -1 keeps a size). A view: no copy. */
  expand(shape: readonly number[]): Tensor {
    const sizes = checkSizes('shape', shape, -1)
    const lead = sizes.length - this.shape.length
    const full = sizes.map((size, i) => (size === -1 ? (this.shape[i - lead] ?? -1) : size))
    if (lead < 0 || full.includes(-1)) {
      throw expected(`at least ${this.shape.length} sizes`, 'shape', shape)
    }
    return this.#map((handle) => handle.expand(full))
  }

  /** Tiles the tensor `repeats[i]` times along dimension i (new ones in front). */
  repeat(repeats: readonly number[]): Tensor {
    const counts = checkSizes('repeats', repeats, 1)
    if (counts.length < this.shape.length) {
      throw expected(`at least ${this.shape.length} numbers`, 'repeats', repeats)
    }
    return this.#map((handle) => handle.repeat(counts))
  }

  /** Repeats every entry of a dimension `repeats` times in place: a a b b. */
  repeatInterleave(repeats: number, dim: number): Tensor {
    checkInteger('repeats', repeats, { min: 1, max: 2 ** 32 - 1 })
    return this.#map((handle) => handle.repeatInterleave(repeats, this.#axis(dim)))
  }

  /** Sum over some dimensions, or all. */
  sum(dims?: readonly number[] | number, keepDim = false): Tensor {
    return this.#reduce('sum', dims, keepDim)
  }

  /** Mean over some dimensions, or all. */
  mean(dims?: readonly number[] | number, keepDim = false): Tensor {
    return this.#reduce('mean', dims, keepDim)
  }

  /** Standard deviation with Bessel's correction (as torch's default) over some dimensions, or all. */
  std(dims?: readonly number[] | number, keepDim = false): Tensor {
    return this.#reduce('std', dims, keepDim)
  }

  /** Smallest element over some dimensions, or all. */
  min(dims?: readonly number[] | number, keepDim = false): Tensor {
    return this.#reduce('min', dims, keepDim)
  }

  /** Greatest element over some dimensions, or all. */
  max(dims?: readonly number[] | number, keepDim = false): Tensor {
    return this.#reduce('max', dims, keepDim)
  }

  /** Position of the greatest element along a dimension, as i64; the dimension disappears. */
  argmax(dim: number): Tensor {
    return this.#map((handle) => handle.argmax(this.#axis(dim)))
  }

  /** The same values in another dtype, on another device, or both. */
  to(target: DType | Device | { dtype?: DType; device?: Device }): Tensor {
    const { dtype, device } = readTarget(target)
    return this.#map((handle) => {
      const cast = dtype === undefined || dtype === this.dtype ? handle : handle.toDtype(checkDtype(dtype))
      return device === undefined ? (cast === handle ? handle.clone() : cast) : cast.toDevice(device)
    })
  }

  /** True if shape, dtype and every element are the same. */
  equal(other: Tensor): boolean {
    const handle = handleOf(other, 'other')
    return guard(() => handleOf(this, 'this').equal(handle))
  }

  /** A second handle on the same data; each is disposed on its own. */
  clone(): Tensor {
    return this.#map((handle) => handle.clone())
  }

  #map(work: (handle: NativeTensor) => NativeTensor): Tensor {
    const handle = handleOf(this, 'this')
    return new Tensor(guard(() => work(handle)))
  }

  #binary(op: string, other: Tensor | number): Tensor {
    if (typeof other === 'number') {
      return this.#map((handle) => handle.scalar(op, other))
    }
    if (typeof other !== 'object') {
      throw expected('a Tensor or a number', 'other', other)
    }
    const right = handleOf(other, 'other')
    return this.#map((handle) => handle.binary(op, right))
  }

  #reduce(op: Reduction, dims: readonly number[] | number | undefined, keepDim: boolean): Tensor {
    const listed = dims === undefined ? this.shape.map((_, i) => i) : checkIntegers('dims', typeof dims === 'number' ? [dims] : dims)
    const axes = [...new Set(listed.map((dim) => this.#axis(dim)))]
    return this.#map((handle) => handle.reduce(op, axes, keepDim))
  }

  #axis(dim: number): number {
    const rank = this.shape.length
    const at = checkInteger('dim', dim, { min: -rank, max: rank - 1 })
    return at < 0 ? at + rank : at
  }
}

function handlesOf(tensors: unknown): NativeTensor[] {
  if (!Array.isArray(tensors) || tensors.length === 0) {
    throw expected('a non-empty array of Tensors', 'tensors', tensors)
  }
  return tensors.map((tensor: unknown, i) => handleOf(tensor, `tensors[${i}]`))
}
