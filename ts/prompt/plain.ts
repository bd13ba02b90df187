import { expected } from '../errors.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { type EncoderText, type PromptChunk, type PromptEncoder, promptChunk, type TextEncoding } from './encoding.ts'
import { encodeState, type LayerOptions } from './hidden-states.ts'
import { textFor } from './side-by-side.ts'
import type { ClipEncoder, TextEncoders } from './text-encoders.ts'

/** How plain text is encoded. */
export interface PlainOptions {
  /** 1 = the layer before the last; SDXL counts from the layer before the last. Positive prompts only. */
  clipSkip?: number
  /** Ids per text, start and end included. @default the tokenizer's limit */
  maxLength?: number
  signal?: AbortSignal
}

/**
 * Encodes texts as diffusers does: brackets are text, and what goes beyond 77 tokens is cut.
 *
 * Sources: diffusers `StableDiffusionPipeline.encode_prompt`, `StableDiffusionXLPipeline.encode_prompt`.
 */
export function plainEncoder({ family, encoders }: TextEncoders, { clipSkip, maxLength, signal }: PlainOptions): PromptEncoder {
  const layer = (role: string): LayerOptions => {
    const skip = role === 'positive' ? clipSkip : undefined
    return family === 'sd' ? { clipSkip: skip, signal } : { clipSkip: (skip ?? 0) + 1, norm: false, signal }
  }
  const encode = async (text: EncoderText, role: 'positive' | 'negative'): Promise<TextEncoding> => {
    using scope = new Scope()
    const states: Tensor[] = []
    const read: { chunk: PromptChunk; cut: string }[] = []
    let pooled: Tensor | undefined
    for (const [i, encoder] of encoders.entries()) {
      checkSkip(encoder, family, clipSkip)
      const { ids, ...rest } = plainTokens(encoder.tokenizer, textFor(text, i), maxLength)
      const state = await encodeState(encoder.textEncoder, [ids], layer(role))
      states.push(scope.keep(state.hidden))
      pooled = scope.keep(state.pooled) ?? pooled
      read.push(rest)
    }
    const embeds = Tensor.cat(states, 2)
    const cut = read.map((part) => part.cut).find((lost) => lost !== '') ?? ''
    return { embeds, pooled: pooled && scope.release(pooled), chunks: read.slice(0, 1).map(({ chunk }) => chunk), cut }
  }
  return { encode }
}

/** Padded ids of a text, its own tokens, and what does not fit. */
export function plainTokens(
  tokenizer: CLIPTokenizer,
  text: string,
  maxLength?: number,
): { ids: number[]; chunk: PromptChunk; cut: string } {
  const expanded = tokenizer.expandPrompt(text)
  const encoded = tokenizer.encode(expanded, { padding: 'max_length', truncation: true, maxLength: maxLength ?? tokenizer.modelMaxLength })
  using inputIds = encoded.inputIds
  using attentionMask = encoded.attentionMask
  const ids = Array.from<number | bigint, number>(inputIds.toArray(), Number)
  const real = Array.from<number | bigint, number>(attentionMask.toArray(), Number).reduce((sum, bit) => sum + bit, 0)
  const tokens = ids.slice(1, real - 1)
  const weights = tokens.map(() => 1)
  return { ids, chunk: promptChunk(tokenizer, tokens, weights), cut: encoded.truncated[0] ?? '' }
}

/** Throws for more skipped layers than the encoder has. */
export function checkSkip({ textEncoder }: ClipEncoder, family: TextEncoders['family'], clipSkip: number | undefined): void {
  const most = textEncoder.config.num_hidden_layers - (family === 'sd' ? 0 : 1)
  if (clipSkip !== undefined && !(Number.isInteger(clipSkip) && clipSkip >= 0 && clipSkip <= most)) {
    throw expected(`a whole number from 0 to ${most}`, 'clipSkip', clipSkip)
  }
}
