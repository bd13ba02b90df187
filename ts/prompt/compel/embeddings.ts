import type { CLIPTokenizer } from '../../models/clip-tokenizer.ts'
import { Scope } from '../../scope.ts'
import { Tensor } from '../../tensor.ts'
import { repeat, tokenIds } from '../chunks.ts'
import { type PromptChunk, promptChunk } from '../encoding.ts'
import { encodeIds, type LayerOptions } from '../hidden-states.ts'
import type { ClipEncoder } from '../text-encoders.ts'
import { type SplitMode, splitPoint } from './split.ts'
import type { FlatPrompt, Fragment } from './syntax.ts'

/** How compel turns weighted fragments into embeddings. */
export interface CompelOptions extends LayerOptions {
  /** Cuts at 77 tokens; otherwise prompts become as many chunks of 77 as they need. @default true */
  truncateLongPrompts?: boolean
  /** Weights below 1 blend towards the prompt with the fragment masked, or removed. @default 'mask' */
  downweightMode?: 'mask' | 'remove'
  /** Where long prompts are split, before falling back to the next finer place. @default 'sentences' */
  splitLongTextMode?: SplitMode
}

/** Token ids in chunks of 77, each with start and end, and the weight and mask of every token. */
interface Layout {
  ids: number[]
  weights: number[]
  /** Position of each fragment's tokens: [first, last]; undefined for one that lost all of them. */
  ranges: ([number, number] | undefined)[]
  /** Tokens of the prompt in each chunk. */
  counts: number[]
  /** Tokens that were cut. */
  lost: number[]
}

/** A weight of 0 would ask for an infinite share of the prompt without the fragment. */
const SMALLEST_WEIGHT = 1e-5

/**
 * Encodes fragments: weights above 1 move a token away from the empty prompt, weights below 1 blend towards the prompt without it.
 *
 * Returns (1, 77 * chunks, width), owned by the caller. Source: compel 2.5.1 `get_embeddings_for_weighted_prompt_fragments`.
 */
export async function encodeFragments(encoder: ClipEncoder, fragments: readonly Fragment[], options: CompelOptions): Promise<Tensor> {
  using scope = new Scope()
  const layout = layOut(encoder.tokenizer, fragments, options)
  const base = scope.keep(await weighted(encoder, layout, undefined, options))
  const terms: [number, Tensor][] = [[1, base]]
  for (const [i, { weight }] of fragments.entries()) {
    if (weight >= 1 || layout.ranges[i] === undefined) {
      continue
    }
    const without = scope.keep(await encodeWithout(encoder, fragments, i, layout, options))
    terms.push([Math.tan(((1 - Math.max(SMALLEST_WEIGHT, weight)) * Math.PI) / 2), without])
  }
  if (terms.length === 1) {
    return scope.release(base)
  }
  const sum = terms.reduce((total, [share]) => total + share, 0)
  return Tensor.linearCombination(terms.map(([share, tensor]) => [share / sum, tensor]))
}

async function encodeWithout(
  encoder: ClipEncoder,
  fragments: readonly Fragment[],
  i: number,
  layout: Layout,
  options: CompelOptions,
): Promise<Tensor> {
  if (options.downweightMode === 'remove') {
    const rest = fragments.filter((_, j) => j !== i)
    return await weighted(encoder, layOut(encoder.tokenizer, rest, options), undefined, options)
  }
  const length = encoder.tokenizer.modelMaxLength
  const [first, last] = layout.ranges[i] ?? [0, -1]
  const mask = layout.ids.map((_, at) => (at >= first && at <= last ? 0 : 1))
  if (options.truncateLongPrompts === false) {
    for (let at = 0; at < mask.length; at += length) {
      mask[at] = 1
      mask[at + length - 1] = 1
    }
  }
  return weighted(encoder, layout, mask, options)
}

/** Tokens, weights and positions, cut or split into chunks. */
function layOut(tokenizer: CLIPTokenizer, fragments: readonly Fragment[], options: CompelOptions): Layout {
  const room = tokenizer.modelMaxLength - 2
  const truncate = options.truncateLongPrompts ?? true
  const tokens = fragments.flatMap(({ text, weight }, fragment) => {
    const ids = tokenIds(tokenizer, text)
    return (truncate ? ids.slice(0, room) : ids).map((id) => ({ id, weight, fragment }))
  })
  const layout: Layout = { ids: [], weights: [], ranges: fragments.map(() => undefined), counts: [], lost: [] }
  let rest = tokens
  do {
    const end = truncate
      ? room
      : splitPoint(
          tokenizer,
          rest.map(({ id }) => id),
          room,
          options.splitLongTextMode ?? 'sentences',
        )
    const chunk = rest.slice(0, end)
    rest = rest.slice(end)
    chunk.forEach(({ fragment }, i) => {
      const at = layout.ids.length + 1 + i
      layout.ranges[fragment] = [layout.ranges[fragment]?.[0] ?? at, at]
    })
    layout.ids.push(
      tokenizer.bosTokenId,
      ...chunk.map(({ id }) => id),
      tokenizer.eosTokenId,
      ...repeat(tokenizer.padTokenId, room - chunk.length),
    )
    layout.counts.push(chunk.length)
    layout.weights.push(1, ...chunk.map(({ weight }) => weight), ...repeat(1, room - chunk.length + 1))
  } while (!truncate && rest.length > 0)
  layout.lost = rest.map(({ id }) => id)
  return layout
}

/** `empty + (state - empty) * weight`, token by token, chunk by chunk. */
async function weighted(
  { tokenizer, textEncoder }: ClipEncoder,
  layout: Layout,
  mask: number[] | undefined,
  options: CompelOptions,
): Promise<Tensor> {
  using scope = new Scope()
  const length = tokenizer.modelMaxLength
  const chunks = Array.from({ length: layout.ids.length / length }, (_, i) => [i * length, (i + 1) * length] as const)
  const rows = chunks.map(([start, end]) => layout.ids.slice(start, end))
  const masks = mask && chunks.map(([start, end]) => mask.slice(start, end))
  const states = scope.keep(await encodeIds(textEncoder, rows, { ...options, mask: masks }))
  const joined = scope.keep(states.reshape([1, layout.ids.length, states.shape[2] ?? 0]))
  if (layout.weights.every((weight) => weight === 1)) {
    return joined.clone()
  }
  const emptyIds = [tokenizer.bosTokenId, tokenizer.eosTokenId, ...repeat(tokenizer.padTokenId, length - 2)]
  const empty = scope.keep(await encodeIds(textEncoder, [emptyIds], options))
  const empties = scope.keep(empty.repeat([1, chunks.length, 1]))
  const factors = scope.keep(Tensor.from(layout.weights, [1, layout.weights.length, 1], 'f32'))
  const delta = scope.keep(joined.sub(empties))
  return empties.add(scope.keep(delta.mul(factors)))
}

/** A prompt without swaps as fragments; a swap counts with its original. */
export function fragmentsOf({ children }: FlatPrompt): Fragment[] {
  return children.flatMap((child) => (child.kind === 'swap' ? child.original : [child]))
}

/** The tokens of a prompt as they are laid out, and the text that was cut. */
export function fragmentChunks(
  tokenizer: CLIPTokenizer,
  fragments: readonly Fragment[],
  options: CompelOptions,
): { chunks: PromptChunk[]; cut: string } {
  const { ids, weights, counts, lost } = layOut(tokenizer, fragments, options)
  const chunks = counts.map((count, i) => {
    const start = i * tokenizer.modelMaxLength + 1
    return promptChunk(tokenizer, ids.slice(start, start + count), weights.slice(start, start + count))
  })
  return { chunks, cut: lost.length === 0 ? '' : tokenizer.decode(lost).trim() }
}
