import { expected } from '../errors.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { ConditionedText, Conditioning, ConditioningInit } from './conditioning.ts'
import { shareEncoding, type TextEncoding } from './encoding.ts'

/** Factors of encodings (one from each conditioning, filled up to one length) in their mixture. */
export type Shares = (embeds: readonly Tensor[]) => readonly number[]

/** Below this angle (in radians) the sphere is as good as flat, and its formula divides by almost zero. */
const SMALLEST_ANGLE = 1e-3

/**
 * Mixes conditionings text by text, at every moment of the run what they are then.
 *
 * Throws `InvalidArgumentError` where they differ in prompts, parts, or the steps of their schedules.
 */
export function combine(conditionings: readonly Conditioning[], shares: Shares): ConditioningInit {
  const [first] = conditionings
  if (first === undefined) {
    throw expected('at least one', 'conditionings', conditionings)
  }
  const steps = conditionings.map((item) => item.steps).filter((count) => count !== undefined)
  if (new Set(steps).size > 1) {
    throw expected(`conditionings for ${steps[0]} steps`, 'conditionings', `one for ${steps.find((count) => count !== steps[0])}`)
  }
  const length = Math.max(...conditionings.map((item) => item.length))
  const mixed = new Map<string, TextEncoding>()
  const numbers = new Map<TextEncoding, number>()
  const mix = (encodings: readonly TextEncoding[]): TextEncoding => {
    const key = encodings.map((encoding) => numberOf(numbers, encoding)).join()
    const found = mixed.get(key) ?? mixEncodings(conditionings, { encodings, length, shares })
    mixed.set(key, found)
    return found
  }
  const merge = (tracks: readonly (readonly ConditionedText[])[]): ConditionedText[] => mergeTexts(tracks, mix)
  const prompts = first.prompts.map((prompt, i) => {
    const all = conditionings.map((item) => item.prompts[i])
    const parts = prompt.parts.map(({ weight }, part) => ({ weight, texts: merge(present(all.map((other) => other?.parts[part]?.texts))) }))
    const negatives = all.map((other) => other?.negative)
    const negative = negatives.every((texts) => texts === undefined) ? undefined : merge(present(negatives))
    if (
      all.some((other) => other?.parts.length !== prompt.parts.length) ||
      conditionings.some((item) => item.prompts.length !== first.prompts.length)
    ) {
      throw expected('as many prompts and parts in each', 'conditionings', conditionings)
    }
    return { prompt: all.map((other) => other?.prompt).join(' / '), negativePrompt: prompt.negativePrompt, parts, negative }
  })
  const [empty, blank] = [first.empty, first.blank].map((encoding) => encoding && shareEncoding(encoding))
  const { syntax, negativeFrom, loras } = first
  return { syntax, prompts, steps: steps[0], empty, blank, negativeFrom, loras }
}

function numberOf(numbers: Map<TextEncoding, number>, encoding: TextEncoding): number {
  const number = numbers.get(encoding) ?? numbers.size
  numbers.set(encoding, number)
  return number
}

function present<T>(values: readonly (T | undefined)[]): T[] {
  return values.map((value) => {
    if (value === undefined) {
      throw expected('as many prompts and parts in each, with negative prompts or without,', 'conditionings', value)
    }
    return value
  })
}

/** Several texts over time as one: a new entry wherever one of them changes. */
function mergeTexts(
  tracks: readonly (readonly ConditionedText[])[],
  mix: (encodings: readonly TextEncoding[]) => TextEncoding,
): ConditionedText[] {
  const ends = [...new Set(tracks.flatMap((texts) => texts.map(({ until }) => until)))].sort((a, b) => a - b)
  return ends.map((until) => {
    const now = present(tracks.map((texts) => texts.find((text) => until <= text.until) ?? texts.at(-1)))
    return { until, text: now.map(({ text }) => text).join(' / '), encoding: mix(now.map(({ encoding }) => encoding)) }
  })
}

function mixEncodings(
  conditionings: readonly Conditioning[],
  { encodings, length, shares }: { encodings: readonly TextEncoding[]; length: number; shares: Shares },
): TextEncoding {
  using scope = new Scope()
  const rows = present(encodings.map((encoding, i) => conditionings[i]?.filled(encoding, length))).map((row) => scope.keep(row))
  const sum = (tensors: readonly Tensor[]): Tensor => {
    const factors = shares(tensors)
    return Tensor.linearCombination(tensors.map((tensor, i) => [factors[i] ?? 0, tensor]))
  }
  const pools = encodings.flatMap(({ pooled }) => (pooled === undefined ? [] : [pooled]))
  return {
    embeds: sum(rows),
    pooled: pools.length === encodings.length ? sum(pools) : undefined,
    chunks: encodings[0]?.chunks ?? [],
    cut: encodings
      .map(({ cut }) => cut)
      .join(' ')
      .trim(),
  }
}

/** Factors of two tensors, seen as one vector each, on the great circle between them. */
export function sphericalShares(from: Tensor | undefined, to: Tensor | undefined, share: number): number[] {
  if (from === undefined || to === undefined) {
    return [1]
  }
  const dot = (a: Tensor, b: Tensor): number => {
    using product = a.mul(b)
    using sum = product.sum()
    return sum.item()
  }
  const cosine = dot(from, to) / Math.sqrt(dot(from, from) * dot(to, to))
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)))
  if (!(angle > SMALLEST_ANGLE && Math.PI - angle > SMALLEST_ANGLE)) {
    return [1 - share, share]
  }
  return [Math.sin((1 - share) * angle) / Math.sin(angle), Math.sin(share * angle) / Math.sin(angle)]
}
