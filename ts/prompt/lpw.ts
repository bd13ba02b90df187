import { expected } from '../errors.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { repeat, type WeightedTokens, weightedTokens } from './chunks.ts'
import { type EncoderText, type PromptChunk, promptChunk, type TextEncoding } from './encoding.ts'
import { type AnyTextEncoder, encodeIds, type LayerOptions } from './hidden-states.ts'
import type { ClipEncoder } from './text-encoders.ts'
import { weigh } from './webui.ts'

/** Options of the long-prompt-weighting community pipeline. */
export interface LpwOptions extends LayerOptions {
  /** Most chunks of 75 tokens; the rest of the prompt is dropped. @default 3 */
  maxEmbeddingsMultiples?: number
  /** Leaves the start and end states between chunks out. @default false */
  noBoseosMiddle?: boolean
  /** Reads no weights: brackets still parse, but all tokens count 1. @default false */
  skipWeighting?: boolean
}

/** A prompt and its negative, encoded to one length: (1, tokens, width) each, owned by the caller. */
export interface LpwResult {
  promptEmbeds: Tensor
  negativePromptEmbeds: Tensor
  tokens: WeightedTokens
  negativeTokens: WeightedTokens
}

/**
 * Encodes a prompt and its negative as diffusers' community pipeline `lpw_stable_diffusion` does.
 *
 * One mean is restored over the whole prompt, not per chunk as in the web UI.
 */
export async function encodeLpw(
  tokenizer: CLIPTokenizer,
  encoder: AnyTextEncoder,
  prompt: string,
  negativePrompt: string,
  options: LpwOptions = {},
): Promise<LpwResult> {
  const { maxEmbeddingsMultiples: multiples = 3, noBoseosMiddle = false, skipWeighting = false } = options
  if (!Number.isInteger(multiples) || multiples < 1) {
    throw expected('a whole number of at least 1', 'maxEmbeddingsMultiples', multiples)
  }
  const chunk = tokenizer.modelMaxLength - 2
  const texts = [prompt, negativePrompt].map((text) => readTokens(tokenizer, text, chunk * multiples))
  const longest = Math.max(...texts.map(({ ids }) => ids.length))
  const chunks = Math.max(1, Math.min(multiples, Math.floor((longest - 1) / chunk) + 1))
  const layout: Layout = { tokenizer, chunk, chunks, noBoseosMiddle }
  using scope = new Scope()
  const encode = async (text: WeightedTokens): Promise<[Tensor, WeightedTokens]> => {
    const padded = pad(text, layout)
    const state = await encodeLong(encoder, padded.ids, layout, options)
    if (skipWeighting || text.weights.every((weight) => weight === 1)) {
      return [scope.keep(state), padded]
    }
    using plain = state
    return [scope.keep(weigh(plain, padded.weights, 'restore')), padded]
  }
  const [positive, tokens] = await encode(texts[0] ?? { ids: [], weights: [] })
  const [negative, negativeTokens] = await encode(texts[1] ?? { ids: [], weights: [] })
  return { promptEmbeds: scope.release(positive), negativePromptEmbeds: scope.release(negative), tokens, negativeTokens }
}

type Layout = { tokenizer: CLIPTokenizer; chunk: number; chunks: number; noBoseosMiddle: boolean }

function readTokens(tokenizer: CLIPTokenizer, text: string, limit: number): WeightedTokens & { lost: number[] } {
  const all = lpwTokens(tokenizer, text)
  return { ids: all.ids.slice(0, limit), weights: all.weights.slice(0, limit), lost: all.ids.slice(limit) }
}

/** Ids and weights of a text, without start and end; the word BREAK has no meaning here. */
export function lpwTokens(tokenizer: CLIPTokenizer, text: string): WeightedTokens {
  const tokens = [...weightedTokens(tokenizer, text, 'lpw')].filter((token) => token !== undefined)
  return { ids: tokens.map(({ id }) => id), weights: tokens.map(({ weight }) => weight) }
}

/** Tokens in windows of `size`. */
export function lpwChunks(tokenizer: CLIPTokenizer, { ids, weights }: WeightedTokens, size: number): PromptChunk[] {
  return Array.from({ length: Math.max(1, Math.ceil(ids.length / size)) }, (_, i) =>
    promptChunk(tokenizer, ids.slice(i * size, (i + 1) * size), weights.slice(i * size, (i + 1) * size)),
  )
}

/** A prompt and its negative for Stable Diffusion 1.x and 2.x; the tensors belong to the caller. */
export async function lpwPair(
  { tokenizer, textEncoder }: ClipEncoder,
  [positive, negative]: readonly [EncoderText, EncoderText],
  options: LpwOptions,
): Promise<[TextEncoding, TextEncoding]> {
  const { promptEmbeds, negativePromptEmbeds } = await encodeLpw(tokenizer, textEncoder, positive.first, negative.first, options)
  return [
    { embeds: promptEmbeds, ...lpwDescription(tokenizer, positive.first, options) },
    { embeds: negativePromptEmbeds, ...lpwDescription(tokenizer, negative.first, options) },
  ]
}

/** The tokens of a text with their weights, and what of it is dropped. */
export function lpwDescription(
  tokenizer: CLIPTokenizer,
  text: string,
  { maxEmbeddingsMultiples = 3 }: LpwOptions,
): { chunks: PromptChunk[]; cut: string } {
  const size = tokenizer.modelMaxLength - 2
  const { lost, ...tokens } = readTokens(tokenizer, text, size * maxEmbeddingsMultiples)
  return { chunks: lpwChunks(tokenizer, tokens, size), cut: lost.length === 0 ? '' : tokenizer.decode(lost).trim() }
}

/** One start and end id around the whole; weights follow the states, which may have a start and end per chunk. */
function pad({ ids, weights }: WeightedTokens, { tokenizer, chunk, chunks, noBoseosMiddle }: Layout): WeightedTokens {
  const total = chunk * chunks + 2
  const paddedIds = [tokenizer.bosTokenId, ...ids, ...repeat(tokenizer.padTokenId, total - 2 - ids.length), tokenizer.eosTokenId]
  if (noBoseosMiddle) {
    return { ids: paddedIds, weights: [1, ...weights, ...repeat(1, total - 1 - weights.length)] }
  }
  const length = chunks * (chunk + 2)
  const perChunk = Array.from({ length: weights.length > 0 ? chunks : 0 }, (_, i) => [
    1,
    ...weights.slice(i * chunk, (i + 1) * chunk),
    1,
  ]).flat()
  return { ids: paddedIds, weights: [...perChunk, ...repeat(1, length - perChunk.length)] }
}

async function encodeLong(encoder: AnyTextEncoder, ids: readonly number[], layout: Layout, options: LayerOptions): Promise<Tensor> {
  const { tokenizer, chunk, chunks, noBoseosMiddle } = layout
  if (chunks === 1) {
    return encodeIds(encoder, [ids], options)
  }
  const rows = Array.from({ length: chunks }, (_, i) => [
    tokenizer.bosTokenId,
    ...ids.slice(i * chunk + 1, (i + 1) * chunk + 1),
    tokenizer.eosTokenId,
  ])
  using scope = new Scope()
  const states = scope.keep(await encodeIds(encoder, rows, options))
  const parts = rows.map((row, i) => {
    const part = scope.keep(states.slice(0, i, i + 1))
    const start = noBoseosMiddle && i > 0 ? 1 : 0
    const end = noBoseosMiddle && i < chunks - 1 ? row.length - 1 : row.length
    return scope.keep(part.slice(1, start, end))
  })
  return Tensor.cat(parts, 1)
}
