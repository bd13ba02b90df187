import { setImmediate } from 'node:timers/promises'
import { Generator } from '../random.ts'
import { Tensor } from '../tensor.ts'
import { seedSequence } from './seed-sequence.ts'

const POOL = 24
const CACHED = 64

/** A node of the dyadic tree: an interval of time, split at its middle. */
type Node = {
  start: number
  end: number
  parent: Node | undefined
  left: boolean
  key: number
  depth: number
  middle?: number
  seed?: number
  children?: [Node, Node]
}

/** Rounds to six decimals, halves to even, as Python's `round(x, 6)`; only odd multiples of 1/128 are exact halves. */
function round6(x: number): number {
  const parts = x * 128
  if (!Number.isInteger(parts) || parts % 2 === 0) {
    return Number(x.toFixed(6))
  }
  const floor = Math.floor(x * 1e6)
  return (floor + (floor % 2)) / 1e6
}

/**
 * One sample of Brownian motion between two times, determined by its seed alone: asking for other intervals, or in another order, looks at
 * the same path. Follows torchsde's `BrownianInterval(halfway_tree=True, tol=1e-6, pool_size=24)`, in f32.
 */
export class BrownianPath {
  readonly #root: Node
  readonly #shape: readonly number[]
  readonly #entropy: bigint
  readonly #whole: Float32Array
  readonly #cache = new Map<Node, Float32Array>()
  #ready: { start: number; end: number; sum: Float32Array } | undefined

  constructor(start: number, end: number, seed: number | bigint, shape: readonly number[]) {
    this.#root = { start: round6(start), end: round6(end), parent: undefined, left: true, key: 0, depth: 0 }
    this.#shape = shape
    this.#entropy = BigInt(seed)
    const [first = 0] = seedSequence(this.#entropy, [], POOL, 3)
    const spread = Math.fround(Math.sqrt(end - start))
    this.#whole = this.#normal(first).map((v) => v * spread)
  }

  /** `W(end) - W(start)`. */
  increment(start: number, end: number): Float32Array {
    const ready = this.#ready
    if (ready !== undefined && ready.start === start && ready.end === end) {
      return ready.sum
    }
    const sum = new Float32Array(this.#whole.length)
    for (const [i, node] of this.#between(start, end).entries()) {
      this.#add(sum, node, i === 0)
    }
    return sum
  }

  /** Makes the increment that is asked for next, one draw in each turn of the event loop: there are dozens, each of the size of the sample. */
  async prepare(start: number, end: number): Promise<void> {
    const sum = new Float32Array(this.#whole.length)
    for (const [i, node] of this.#between(start, end).entries()) {
      const line: Node[] = []
      for (let at: Node | undefined = node; at !== undefined && !this.#cache.has(at); at = at.parent) {
        line.push(at)
      }
      for (const above of line.reverse()) {
        this.#value(above)
        await setImmediate()
      }
      this.#add(sum, node, i === 0)
    }
    this.#ready = { start, end, sum }
  }

  #between(start: number, end: number): Node[] {
    const clamp = (t: number): number => Math.min(Math.max(t, this.#root.start), this.#root.end)
    const found: Node[] = []
    this.#locate(this.#root, round6(clamp(start)), round6(clamp(end)), found)
    return found
  }

  #add(sum: Float32Array, node: Node, isFirst: boolean): void {
    const part = this.#value(node)
    for (let k = 0; k < sum.length; k++) {
      sum[k] = isFirst ? (part[k] ?? 0) : (sum[k] ?? 0) + (part[k] ?? 0)
    }
  }

  #normal(seed: number): Float32Array {
    using noise = new Generator(seed).randn(this.#shape)
    return noise.toArray() as Float32Array
  }

  #locate(node: Node, start: number, end: number, found: Node[]): void {
    if (start >= end) {
      return
    }
    if (start === node.start && end === node.end) {
      found.push(node)
      return
    }
    if (node.children === undefined) {
      this.#split(node, start === node.start ? end : start)
    }
    const { middle = node.end, children } = node
    if (children === undefined) {
      return
    }
    this.#locate(children[0], start, Math.min(end, middle), found)
    this.#locate(children[1], Math.max(start, middle), end, found)
  }

  /** Halves a node, and its halves, until `at` is an edge. */
  #split(node: Node, at: number): void {
    let current = node
    for (;;) {
      const half = 0.5 * (current.end + current.start)
      const middle = round6(half)
      if (current.parent !== undefined) {
        current.key = 2 * current.parent.key + (current.left ? 0 : 1)
        current.depth = current.parent.depth + 1
      }
      current.middle = middle
      current.seed = seedSequence(this.#entropy, [current.key, current.depth], POOL, 4)[0]
      const child = (start: number, end: number, left: boolean): Node => ({
        start: round6(start),
        end: round6(end),
        parent: current,
        left,
        key: 0,
        depth: 0,
      })
      const children: [Node, Node] = [child(current.start, half, true), child(half, current.end, false)]
      current.children = children
      if (at === middle || middle <= current.start || middle >= current.end) {
        return
      }
      current = children[at > middle ? 1 : 0]
    }
  }

  #value(node: Node): Float32Array {
    const { parent } = node
    if (parent === undefined) {
      return this.#whole
    }
    const known = this.#cache.get(node)
    if (known !== undefined) {
      return known
    }
    const all = this.#value(parent)
    const { middle = parent.end, seed = 0 } = parent
    const [before, after, share] = [middle - parent.start, parent.end - middle, 1 / (parent.end - parent.start)]
    const spread = Math.sqrt(before * after * share)
    const [weight, scale, factor] = [Math.fround(before), Math.fround(share), Math.fround(spread)]
    const value = this.#normal(seed)
    for (let k = 0; k < value.length; k++) {
      const whole = all[k] ?? 0
      const mean = Math.fround(Math.fround(weight * whole) * scale)
      const left = Math.fround(mean + Math.fround(factor * (value[k] ?? 0)))
      value[k] = node.left ? left : whole - left
    }
    if (this.#cache.size >= CACHED) {
      for (const oldest of this.#cache.keys()) {
        this.#cache.delete(oldest)
        break
      }
    }
    this.#cache.set(node, value)
    return value
  }
}

/**
 * Noise of a sampler that looks at Brownian paths: the increment from one noise level to another, divided by the root of their distance.
 * With one seed there is one path of the whole batch's shape, with several one per image. Source: k-diffusion `BrownianTreeNoiseSampler`.
 */
export class BrownianNoise {
  readonly #paths: readonly BrownianPath[]
  readonly #shape: readonly number[]

  constructor(low: number, high: number, seeds: readonly (number | bigint)[], shape: readonly number[]) {
    const [batch = 1, ...item] = shape
    this.#shape = shape
    this.#paths = seeds.map((seed) => new BrownianPath(low, high, seed, seeds.length === 1 ? shape : [batch / seeds.length, ...item]))
  }

  /** Makes the noise that is drawn next in turns of the event loop. */
  async prepare(from: number, to: number): Promise<void> {
    for (const path of this.#paths) {
      await path.prepare(Math.min(from, to), Math.max(from, to))
    }
  }

  /** The noise of a step from sigma `from` down to `to`; shape of the sample. */
  draw(from: number, to: number): Tensor {
    const root = Math.fround(Math.sqrt(Math.fround(Math.abs(to - from))))
    const sign = from < to ? 1 : -1
    const parts = this.#paths.map((path) => path.increment(Math.min(from, to), Math.max(from, to)))
    const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0))
    let at = 0
    for (const part of parts) {
      all.set(
        part.map((v) => (sign * v) / root),
        at,
      )
      at += part.length
    }
    return Tensor.from(all, [...this.#shape])
  }
}
