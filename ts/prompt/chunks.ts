import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { type AttentionGrammar, parseAttention } from './attention.ts'

/** Token ids with the factor of each; `ids` and `weights` have equal length, start and end included. */
export interface WeightedTokens {
  ids: number[]
  weights: number[]
}

/** One chunk of a prompt as the text encoder sees it. */
export interface Chunk extends WeightedTokens {
  /** Tokens of the prompt in it; the rest is padding. */
  tokenCount: number
}

/** How a prompt is cut into chunks. */
export interface ChunkOptions {
  /** A chunk that would end within so many tokens after a comma ends at the comma; 0 cuts anywhere. @default 20 */
  commaBacktrack?: number
}

/** Tokenizes weighted pieces without start and end. `BREAK` is passed on as `undefined`. */
export function* weightedTokens(
  tokenizer: CLIPTokenizer,
  prompt: string,
  grammar: AttentionGrammar,
): Generator<{ id: number; weight: number } | undefined, undefined> {
  for (const [text, weight] of parseAttention(prompt, grammar)) {
    if (text === 'BREAK' && weight === -1) {
      yield undefined
      continue
    }
    for (const id of tokenIds(tokenizer, text)) {
      yield { id, weight }
    }
  }
}

/** Ids of a text without start and end; tokens of several vectors are written out. */
export function tokenIds(tokenizer: CLIPTokenizer, text: string): number[] {
  const { inputIds, attentionMask } = tokenizer.encode(tokenizer.expandPrompt(text), { addSpecialTokens: false })
  using ids = inputIds
  using _mask = attentionMask
  return Array.from<number | bigint, number>(ids.toArray(), Number)
}

/**
 * Cuts a prompt into chunks of `modelMaxLength` ids (75 tokens between start and end), each padded with the end id.
 *
 * `BREAK` ends a chunk; an empty prompt is one empty chunk. Source: stable-diffusion-webui `FrozenCLIPEmbedderWithCustomWords`.
 */
export function webuiChunks(tokenizer: CLIPTokenizer, prompt: string, { commaBacktrack = 20 }: ChunkOptions = {}): Chunk[] {
  const length = tokenizer.modelMaxLength - 2
  const comma = tokenIds(tokenizer, ',')[0]
  const { bosTokenId: bos, eosTokenId: eos } = tokenizer
  const chunks: Chunk[] = []
  let ids: number[] = []
  let weights: number[] = []
  let lastComma = -1

  const close = (kept: number): void => {
    const fill = length - kept
    chunks.push({
      ids: [bos, ...ids.slice(0, kept), ...repeat(eos, fill), eos],
      weights: [1, ...weights.slice(0, kept), ...repeat(1, fill), 1],
      tokenCount: kept,
    })
    ids = ids.slice(kept)
    weights = weights.slice(kept)
    lastComma = -1
  }
  for (const token of weightedTokens(tokenizer, prompt, 'webui')) {
    if (token === undefined) {
      close(ids.length)
      continue
    }
    if (token.id === comma) {
      lastComma = ids.length
    } else if (commaBacktrack > 0 && ids.length === length && lastComma !== -1 && ids.length - lastComma <= commaBacktrack) {
      close(lastComma + 1)
    }
    if (ids.length === length) {
      close(length)
    }
    ids.push(token.id)
    weights.push(token.weight)
  }
  if (ids.length > 0 || chunks.length === 0) {
    close(ids.length)
  }
  return chunks
}

/** `n` times the same number. */
export function repeat(value: number, n: number): number[] {
  return Array.from({ length: n }, () => value)
}
