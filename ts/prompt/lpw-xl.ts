import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { repeat, type WeightedTokens } from './chunks.ts'
import type { EncoderText, TextEncoding } from './encoding.ts'
import { encodeState } from './hidden-states.ts'
import { lpwChunks, lpwTokens } from './lpw.ts'
import type { ClipEncoder, TextEncoders } from './text-encoders.ts'

/** Tokens in one window. */
const SIZE = 75

/** Options of long-prompt weighting for SDXL. */
export interface LpwXLOptions {
  /** Layers left out before the last but one, for the prompt only. @default 0 */
  clipSkip?: number
  /** Further texts of the call: all are filled up to the longest, so that prompts of any length fit into one batch. @default none */
  beside?: readonly EncoderText[]
  signal?: AbortSignal
}

/** The same windows for each encoder; the weights are those of the first. */
type Windows = { ids: number[][]; weights: number[] }[]

/**
 * Encodes a prompt and its negative as diffusers' community pipeline `lpw_stable_diffusion_xl` does; the tensors belong to the caller.
 *
 * The shorter of the two is filled up with end ids, in a call of several prompts all up to the longest; windows of 75 tokens, the last one as long as it happens to be; a weight w moves a token
 * away from the last one of its window, `last + w (token - last)`, w rounded to f16; the pooled part is the last window's. A text for
 * the second encoder is appended to the first. Where the original fails or errs, this does not: two empty texts give one empty window, and
 * the word BREAK is a word (there it gets the weight -1). Source: `get_weighted_text_embeddings_sdxl`.
 */
export async function lpwPairXL(
  { encoders }: TextEncoders,
  [positive, negative]: readonly [EncoderText, EncoderText],
  { clipSkip = 0, beside = [], signal }: LpwXLOptions,
): Promise<[TextEncoding, TextEncoding]> {
  const texts = [positive, negative, ...beside].map(({ first, second }) => (second ? `${first} ${second}` : first))
  const tokens = texts.map((text) => encoders.map(({ tokenizer }) => lpwTokens(tokenizer, text)))
  const longest = encoders.map((_, i) => Math.max(...tokens.map((read) => read[i]?.ids.length ?? 0)))
  const encode = async (text: number, skip: number): Promise<TextEncoding> => {
    const read = tokens[text] ?? []
    const filled = read.map((own, i) => fill(own, longest[i] ?? 0, (encoders[i] ?? encoders[0]).tokenizer.eosTokenId))
    const state = await encodeWindows(encoders, windows(encoders, filled), { clipSkip: skip + 1, signal })
    const { tokenizer } = encoders[0]
    const [own = { ids: [], weights: [] }] = read
    return { ...state, chunks: lpwChunks(tokenizer, own, SIZE), cut: '' }
  }
  using scope = new Scope()
  const first = await encode(0, clipSkip)
  scope.keep(first.embeds)
  scope.keep(first.pooled)
  const second = await encode(1, 0)
  scope.release(first.embeds)
  if (first.pooled !== undefined) {
    scope.release(first.pooled)
  }
  return [first, second]
}

function fill({ ids, weights }: WeightedTokens, length: number, eos: number): WeightedTokens {
  const missing = length - ids.length
  return { ids: [...ids, ...repeat(eos, missing)], weights: [...weights, ...repeat(1, missing)] }
}

function windows(encoders: readonly ClipEncoder[], tokens: readonly WeightedTokens[]): Windows {
  const count = Math.max(1, Math.ceil((tokens[0]?.ids.length ?? 0) / SIZE))
  const part = (all: readonly number[], i: number): number[] => all.slice(i * SIZE, (i + 1) * SIZE)
  return Array.from({ length: count }, (_, i) => ({
    ids: encoders.map(({ tokenizer }, e) => [tokenizer.bosTokenId, ...part(tokens[e]?.ids ?? [], i), tokenizer.eosTokenId]),
    weights: [1, ...part(tokens[0]?.weights ?? [], i), 1],
  }))
}

async function encodeWindows(
  encoders: readonly ClipEncoder[],
  list: Windows,
  options: { clipSkip: number; signal?: AbortSignal },
): Promise<{ embeds: Tensor; pooled?: Tensor }> {
  using scope = new Scope()
  const parts: Tensor[] = []
  let pooled: Tensor | undefined
  for (const { ids, weights } of list) {
    const states: Tensor[] = []
    for (const [e, { textEncoder }] of encoders.entries()) {
      const state = await encodeState(textEncoder, [ids[e] ?? []], { ...options, norm: false })
      states.push(scope.keep(state.hidden))
      pooled = scope.keep(state.pooled) ?? pooled
    }
    parts.push(scope.keep(awayFromLast(scope.keep(Tensor.cat(states, 2)), weights)))
  }
  return { embeds: Tensor.cat(parts, 1), pooled: pooled && scope.release(pooled) }
}

/** `token + (w - 1) (token - last)`: exactly the token itself where w is 1. */
function awayFromLast(state: Tensor, weights: readonly number[]): Tensor {
  if (weights.every((weight) => weight === 1)) {
    return state.clone()
  }
  using scope = new Scope()
  const half = scope.keep(Tensor.from([...weights], [1, weights.length, 1], 'f16'))
  const factors = scope.keep(scope.keep(half.to('f32')).sub(1))
  const last = scope.keep(state.slice(1, weights.length - 1))
  return state.add(scope.keep(scope.keep(state.sub(last)).mul(factors)))
}
