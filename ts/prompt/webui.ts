import type { CLIPTextModel } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { type Chunk, type ChunkOptions, webuiChunks } from './chunks.ts'
import { encodeIds, type LayerOptions } from './hidden-states.ts'

/** How weights act on the encoded tokens. */
export interface WebuiOptions extends ChunkOptions, LayerOptions {
  /** `restore` scales each chunk back to the mean it had before weighting, as the web UI does; `multiply` leaves it. @default 'restore' */
  emphasis?: 'restore' | 'multiply'
}

/**
 * Encodes a prompt as stable-diffusion-webui does: chunks of 75 tokens, each encoded alone, weighted, joined along the tokens.
 *
 * Returns (1, 77 * chunks, width), owned by the caller, and the chunks. Source: `FrozenCLIPEmbedderWithCustomWords.forward`.
 */
export async function encodeWebui(
  tokenizer: CLIPTokenizer,
  encoder: CLIPTextModel,
  prompt: string,
  options: WebuiOptions = {},
): Promise<{ embeds: Tensor; chunks: Chunk[] }> {
  const chunks = webuiChunks(tokenizer, prompt, options)
  using scope = new Scope()
  const rows = chunks.map(({ ids, tokenCount }) => padded(ids, tokenCount, tokenizer))
  const states = scope.keep(await encodeIds(encoder, rows, options))
  const parts = chunks.map(({ weights }, i) => {
    const state = scope.keep(states.slice(0, i, i + 1))
    return weights.every((weight) => weight === 1) ? state : scope.keep(weigh(state, weights, options.emphasis ?? 'restore'))
  })
  return { embeds: Tensor.cat(parts, 1), chunks }
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
