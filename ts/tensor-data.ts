import { expected } from './errors.ts'

/** Element types of a tensor. */
export type DType = 'f32' | 'f16' | 'bf16' | 'f64' | 'i64' | 'u32' | 'u8'

/** Where a tensor or model lives. */
export type Device = 'cpu' | 'cuda' | `cuda:${number}`

/** Typed arrays that a tensor can be made from. */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array

/** Typed arrays that `Tensor.toArray()` gives: f16 and bf16 come as Float32Array, i64 as BigInt64Array. */
export type TensorArray = Float32Array | Float64Array | BigInt64Array | Uint32Array | Uint8Array

/** Numbers nested as deep as the tensor has dimensions. */
export type NestedNumbers = number | NestedNumbers[]

/** All element types, in the order in which mixed arithmetic promotes them. */
export const DTYPES: readonly DType[] = ['u8', 'u32', 'i64', 'bf16', 'f16', 'f32', 'f64']

/** Bytes of one element. */
export const BYTES_PER_ELEMENT: Readonly<Record<DType, number>> = { u8: 1, u32: 4, i64: 8, bf16: 2, f16: 2, f32: 4, f64: 8 }

/** What a tensor is made from natively: raw bytes, how to read them, and the shape. */
export type RawData = { bytes: Uint8Array; source: 'f32' | 'f64' | 'i64' | 'u32' | 'u8'; shape: number[] }

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/** Brings typed arrays, flat arrays and nested arrays of numbers into raw bytes plus shape. */
export function rawFrom(data: unknown, shape: number[] | undefined): RawData {
  if (ArrayBuffer.isView(data) && !(data instanceof DataView)) {
    const [view, source] = plainView(data as TypedArray)
    return finish(new Uint8Array(view.buffer, view.byteOffset, view.byteLength), source, view.length, shape ?? [view.length])
  }
  if (typeof data === 'number') {
    return finish(new Uint8Array(Float64Array.of(data).buffer), 'f64', 1, shape ?? [])
  }
  if (!Array.isArray(data)) {
    throw expected('a typed array, an array of numbers or nested arrays of numbers', 'data', data)
  }
  const nested: number[] = []
  for (let level: unknown = data; Array.isArray(level); level = level[0]) {
    nested.push(level.length)
  }
  const values = new Float64Array(elementCount(nested))
  fill(data, nested, 0, 0, values)
  return finish(new Uint8Array(values.buffer), 'f64', values.length, shape ?? nested)
}

function finish(bytes: Uint8Array, source: RawData['source'], length: number, shape: number[]): RawData {
  if (elementCount(shape) !== length) {
    throw expected(`${length} elements (the length of data)`, 'shape', shape)
  }
  return { bytes, source, shape }
}

function plainView(data: TypedArray): [TypedArray, RawData['source']] {
  switch (true) {
    case data instanceof Float32Array:
      return [data, 'f32']
    case data instanceof Float64Array:
      return [data, 'f64']
    case data instanceof BigInt64Array:
      return [data, 'i64']
    case data instanceof BigUint64Array:
      return [BigInt64Array.from(data), 'i64']
    case data instanceof Uint32Array:
      return [data, 'u32']
    case data instanceof Uint8Array:
    case data instanceof Uint8ClampedArray:
      return [data, 'u8']
    default:
      return [Float64Array.from(data as Int8Array | Int16Array | Uint16Array | Int32Array), 'f64']
  }
}

function fill(level: unknown, shape: number[], depth: number, offset: number, out: Float64Array): number {
  if (depth === shape.length) {
    if (typeof level !== 'number') {
      throw expected('numbers only', 'data', level)
    }
    out[offset] = level
    return offset + 1
  }
  if (!Array.isArray(level) || level.length !== shape[depth]) {
    throw expected(`arrays of equal length (${shape[depth]} at depth ${depth})`, 'data', level)
  }
  let next = offset
  for (const item of level) {
    next = fill(item, shape, depth + 1, next, out)
  }
  return next
}

/** Reads raw native bytes as the typed array of a dtype. */
export function typedView(bytes: Uint8Array, dtype: DType): TensorArray {
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % 8 === 0 ? bytes : bytes.slice()
  switch (dtype) {
    case 'f64':
      return new Float64Array(buffer, byteOffset, byteLength / 8)
    case 'i64':
      return new BigInt64Array(buffer, byteOffset, byteLength / 8)
    case 'u32':
      return new Uint32Array(buffer, byteOffset, byteLength / 4)
    case 'u8':
      return new Uint8Array(buffer, byteOffset, byteLength)
    default:
      return new Float32Array(buffer, byteOffset, byteLength / 4)
  }
}

/** Nests flat values by a shape; a scalar becomes a bare number. */
export function nest(values: TensorArray, shape: readonly number[]): NestedNumbers {
  let offset = 0
  const build = (depth: number): NestedNumbers => {
    const size = shape[depth]
    return size === undefined ? Number(values[offset++]) : Array.from({ length: size }, () => build(depth + 1))
  }
  return build(0)
}
