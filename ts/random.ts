import { randomInt } from 'node:crypto'
import { checkInteger, checkOneOf, checkSizes } from './checks.ts'
import { expected, guard } from './errors.ts'
import { type NativeGenerator, native } from './native.ts'
import { Tensor, wrapTensor } from './tensor.ts'
import { type DType, elementCount } from './tensor-data.ts'

/** Which reference a generator follows bit by bit: torch's CPU generator (mt19937) or torch's CUDA generator (Philox). */
export type RngKind = 'torch-cpu' | 'torch-cuda'

/** Float types that random numbers can be drawn in. */
export type RandomDType = 'f32' | 'f64' | 'f16' | 'bf16'

const KINDS: readonly RngKind[] = ['torch-cpu', 'torch-cuda']
const FLOATS: readonly RandomDType[] = ['f32', 'f64', 'f16', 'bf16']

/** A seed that is not predictable: 0 to 2^32 - 1. */
export function randomSeed(): number {
  return randomInt(2 ** 32)
}

/**
 * Random numbers as torch draws them: the same seed gives the same noise as `torch.Generator().manual_seed(seed)`.
 *
 * Always computed on the CPU, so a seed means the same picture on every device.
 */
export class Generator {
  #native: NativeGenerator
  /** Which of torch's generators this one follows. */
  readonly rng: RngKind

  /** @param seed whole number 0 to 2^64 - 1 (negative numbers wrap as in torch); drawn at random when left out */
  constructor(seed: number | bigint = randomSeed(), options: { rng?: RngKind } = {}) {
    this.rng = checkOneOf('rng', options.rng ?? 'torch-cpu', KINDS)
    const value = checkSeed(seed)
    this.#native = guard(() => new native.NativeGenerator(value, this.rng))
  }

  /** The seed that it was started with: a number where exact, else a bigint. */
  get seed(): number | bigint {
    const seed = this.#native.seed
    return seed <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(seed) : seed
  }

  /** Starts again from a seed; returns itself. */
  manualSeed(seed: number | bigint): this {
    const value = checkSeed(seed)
    guard(() => this.#native.manualSeed(value))
    return this
  }

  /** Standard normal numbers; `dtype` defaults to f32. */
  randn(shape: readonly number[], options: { dtype?: RandomDType } = {}): Tensor {
    const [sizes, dtype] = checkDraw(shape, options.dtype)
    return wrapTensor(guard(() => this.#native.randn(sizes, dtype)))
  }

  /** Uniform numbers in [0, 1); `dtype` defaults to f32. */
  rand(shape: readonly number[], options: { dtype?: RandomDType } = {}): Tensor {
    const [sizes, dtype] = checkDraw(shape, options.dtype)
    return wrapTensor(guard(() => this.#native.rand(sizes, dtype)))
  }

  /** Whole numbers `low <= x < high`, as i64. */
  randint(low: number, high: number, shape: readonly number[]): Tensor {
    checkInteger('low', low)
    checkInteger('high', high, { min: low + 1 })
    const [sizes] = checkDraw(shape, undefined)
    return wrapTensor(guard(() => this.#native.randint(low, high, sizes)))
  }

  /** A random order of `0 .. n - 1`, as i64. */
  randperm(n: number): Tensor {
    checkInteger('n', n, { min: 0, max: 2 ** 31 })
    return wrapTensor(guard(() => this.#native.randperm(n)))
  }

  /** A generator that continues from the same state, independently. */
  clone(): Generator {
    const copy = new Generator(0, { rng: this.rng })
    copy.#native = guard(() => this.#native.clone())
    return copy
  }
}

/**
 * Noise for a batch. With a list, item i comes from generator i (with shape `[1, ...]`), so that a picture does not depend on its batch.
 *
 * Source: diffusers torch_utils.py `randn_tensor`.
 */
export function randnTensor(
  shape: readonly number[],
  generators?: Generator | readonly Generator[],
  options: { dtype?: RandomDType } = {},
): Tensor {
  if (generators === undefined) {
    return new Generator().randn(shape, options)
  }
  if (generators instanceof Generator) {
    return generators.randn(shape, options)
  }
  const [sizes] = checkDraw(shape, options.dtype)
  if (!Array.isArray(generators) || !generators.every((item) => item instanceof Generator)) {
    throw expected('a Generator or an array of Generators', 'generators', generators)
  }
  const [first] = generators as readonly Generator[]
  if (first !== undefined && generators.length === 1) {
    return first.randn(sizes, options)
  }
  if (generators.length !== sizes[0]) {
    throw expected(`${sizes[0]} Generators (the batch size)`, 'generators', generators)
  }
  const parts = (generators as readonly Generator[]).map((generator) => generator.randn([1, ...sizes.slice(1)], options))
  const noise = Tensor.cat(parts)
  for (const part of parts) {
    part.dispose()
  }
  return noise
}

function checkSeed(seed: unknown): bigint {
  if (typeof seed === 'bigint' && seed >= -(2n ** 63n) && seed < 2n ** 64n) {
    return BigInt.asUintN(64, seed)
  }
  if (typeof seed === 'number' && Number.isSafeInteger(seed)) {
    return BigInt.asUintN(64, BigInt(seed))
  }
  throw expected('a whole number (use a bigint above 2^53)', 'seed', seed)
}

function checkDraw(shape: unknown, dtype: DType | undefined): [number[], RandomDType] {
  const sizes = checkSizes('shape', shape)
  if (elementCount(sizes) > 2 ** 31) {
    throw expected('a shape of at most 2^31 elements', 'shape', shape)
  }
  return [sizes, checkOneOf('dtype', dtype ?? 'f32', FLOATS)]
}
