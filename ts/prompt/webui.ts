import { expected } from '../errors.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { type Chunk, type ChunkOptions, webuiChunks } from './chunks.ts'
import { type EncoderText, type PromptEncoder, promptChunk, type TextEncoding } from './encoding.ts'
import { type AnyTextEncoder, encodeState, type LayerOptions } from './hidden-states.ts'
import { joinEncoders, textFor, zeroed } from './side-by-side.ts'
import type { TextEncoders } from './text-encoders.ts'

/** How weights act on the encoded tokens. */
export interface WebuiOptions extends ChunkOptions, LayerOptions {
  /** `restore` scales each chunk back to the mean it had before weighting, as the web UI does; `multiply` leaves it. @default 'restore' */
  emphasis?: 'restore' | 'multiply'
}

/** A prompt encoded as the web UI does; the tensors belong to the caller. */
export interface WebuiEncoding {
  /** (1, 77 * chunks, width). */
  embeds: Tensor
  /** Of the first chunk (1, P), where the encoder has a projection. */
  pooled?: Tensor
  chunks: Chunk[]
}

/**
 * Encodes a prompt as stable-diffusion-webui does: chunks of 75 tokens, each encoded alone, weighted, joined along the tokens.
 *
 * Source: `FrozenCLIPEmbedderWithCustomWords.forward`.
 */
export async function encodeWebui(
  tokenizer: CLIPTokenizer,
  encoder: AnyTextEncoder,
  prompt: string,
  options: WebuiOptions = {},
): Promise<WebuiEncoding> {
  const chunks = webuiChunks(tokenizer, prompt, options)
  using scope = new Scope()
  const rows = chunks.map(({ ids, tokenCount }) => padded(ids, tokenCount, tokenizer))
  const { hidden, pooled: pools } = await encodeState(encoder, rows, options)
  const states = scope.keep(hidden)
  const parts = chunks.map(({ weights }, i) => {
    const state = scope.keep(states.slice(0, i, i + 1))
    return weights.every((weight) => weight === 1) ? state : scope.keep(weigh(state, weights, options.emphasis ?? 'restore'))
  })
  const pooled = scope.keep(pools)?.slice(0, 0, 1)
  return { embeds: Tensor.cat(parts, 1), pooled, chunks }
}

/**
 * Encodes texts for all encoders of a model as stable-diffusion-webui does.
 *
 * `clipSkip` counts as there: 1 reads the last layer, 2 the one before. SDXL's second encoder always reads the layer before the last, its
 * first one does without `clipSkip`; an empty negative prompt is zeros there. Sources: `FrozenCLIPEmbedderForSDXLWithCustomWords`,
 * `FrozenOpenCLIPEmbedder2WithCustomWords`, `sd_models_xl.get_learned_conditioning`.
 */
export function webuiEncoder({ family, encoders }: TextEncoders, { clipSkip, ...options }: WebuiOptions): PromptEncoder {
  const layer = (i: number): LayerOptions =>
    family === 'sd'
      ? { clipSkip: clipSkip === undefined || clipSkip === 1 ? undefined : clipSkip - 1 }
      : { clipSkip: i === 0 && encoders.length === 2 && clipSkip !== undefined ? clipSkip - 1 : 1, norm: false }
  const depth = encoders[0].textEncoder.config.num_hidden_layers
  if (clipSkip !== undefined && !(Number.isInteger(clipSkip) && clipSkip >= 1 && clipSkip <= depth)) {
    throw expected(`a whole number from 1 to ${depth}, as stable-diffusion-webui counts,`, 'clipSkip', clipSkip)
  }
  const encode = async (text: EncoderText): Promise<TextEncoding> => {
    const states: WebuiEncoding[] = []
    using scope = new Scope()
    for (const [i, { tokenizer, textEncoder }] of encoders.entries()) {
      const state = await encodeWebui(tokenizer, textEncoder, textFor(text, i), { ...options, ...layer(i) })
      scope.keep(state.embeds)
      scope.keep(state.pooled)
      states.push(state)
    }
    const embeds = await joinEncoders(
      states.map((state) => state.embeds),
      async (i) => {
        const { tokenizer, textEncoder } = encoders[i] ?? encoders[0]
        const { embeds: empty, pooled } = await encodeWebui(tokenizer, textEncoder, '', { ...options, ...layer(i) })
        pooled?.dispose()
        return empty
      },
    )
    const pooled = states.at(-1)?.pooled
    const chunks = (states[0]?.chunks ?? []).map(({ ids, weights, tokenCount }) =>
      promptChunk(encoders[0].tokenizer, ids.slice(1, tokenCount + 1), weights.slice(1, tokenCount + 1)),
    )
    return { embeds, pooled: pooled && scope.release(pooled), chunks, cut: '' }
  }
  return {
    encode: async (text, role) => {
      const encoding = await encode(text)
      return family === 'sdxl' && role === 'negative' && text.first === '' && (text.second ?? '') === '' ? zeroed(encoding) : encoding
    },
  }
}

/** SD 2.x and SDXL's second encoder pad with another id after the first end id. */
function padded(ids: readonly number[], tokenCount: number, { padTokenId }: CLIPTokenizer): number[] {
  return ids.map((id, i) => (i > tokenCount + 1 ? padTokenId : id))
}

/** Multiplies each token of a state (1, L, width) by its weight; `restore` then gives the whole its old mean. */
export function weigh(state: Tensor, weights: readonly number[], emphasis: 'restore' | 'multiply'): Tensor {
  using factors = Tensor.from([...weights], [1, weights.length, 1], 'f32')
  const weighted = state.mul(factors)
  if (emphasis === 'multiply') {
    return weighted
  }
  using _weighted = weighted
  using before = state.mean()
  using after = weighted.mean()
  return weighted.mul(before.item() / after.item())
}
