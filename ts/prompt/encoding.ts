import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import type { Tensor } from '../tensor.ts'

/** One token of a prompt, as the text encoder sees it. */
export interface PromptToken {
  id: number
  /** Vocabulary entry; `</w>` ends a word. */
  token: string
  weight: number
}

/** The tokens of one text in one window of the text encoder (77 ids with start, end and padding, which are not listed). */
export interface PromptChunk {
  tokens: readonly PromptToken[]
}

/** One encoded text. The tensors belong to whoever holds the encoding. */
export interface TextEncoding {
  /** (1, tokens, width); SDXL: both encoders side by side. */
  embeds: Tensor
  /** (1, P), where the model has it. */
  pooled?: Tensor
  chunks: readonly PromptChunk[]
  /** What did not fit; empty if all did. */
  cut: string
  /** True for an absent negative prompt that the model wants as zeros. */
  zeros?: true
}

/** Texts for the encoders: SDXL may get another one for its second. */
export interface EncoderText {
  first: string
  second?: string
}

/** Turns texts of one syntax into embeddings. The caller owns what it gets. */
export interface PromptEncoder {
  /** Encodes a text without regard to any other. */
  encode(text: EncoderText, role: 'positive' | 'negative'): Promise<TextEncoding>
  /** Encodes a prompt and its negative to one length; present where the syntax says that they depend on each other. */
  encodePair?(positive: EncoderText, negative: EncoderText): Promise<[TextEncoding, TextEncoding]>
}

/** Puts ids and weights (without start, end and padding) into words. */
export function promptChunk(tokenizer: CLIPTokenizer, ids: readonly number[], weights: readonly number[]): PromptChunk {
  const tokens = tokenizer.convertIdsToTokens(ids)
  return { tokens: ids.map((id, i) => ({ id, token: tokens[i] ?? '', weight: weights[i] ?? 1 })) }
}

/** A second holder of the same encoding: new handles on the same data. */
export function shareEncoding(encoding: TextEncoding): TextEncoding {
  return { ...encoding, embeds: encoding.embeds.clone(), pooled: encoding.pooled?.clone() }
}

/** Frees the tensors of an encoding. */
export function disposeEncoding({ embeds, pooled }: TextEncoding): void {
  embeds.dispose()
  pooled?.dispose()
}
