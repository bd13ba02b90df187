import { expected } from '../errors.ts'
import type { CLIPTextModel } from '../models/clip-text-model.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'

/** Which of the text encoder's layers is read. */
export interface LayerOptions {
  /** Layers left out at the end; the state is still normalised by the last norm. 1 = the layer before the last. */
  clipSkip?: number
  signal?: AbortSignal
}

/** Rows of 1 (seen) and 0 (hidden from attention), one number per id. */
export type TokenMask = readonly (readonly number[])[]

/** Encodes rows of ids of one length: (rows, length, width). The caller owns the result. */
export async function encodeIds(
  encoder: CLIPTextModel,
  rows: readonly (readonly number[])[],
  options: LayerOptions & { mask?: TokenMask } = {},
): Promise<Tensor> {
  const shape = [rows.length, rows[0]?.length ?? 0]
  using ids = Tensor.from(rows.flat(), shape, 'i64')
  using attentionMask = options.mask && Tensor.from(options.mask.flat(), shape, 'i64')
  return await hiddenState(encoder, ids, { ...options, attentionMask })
}

/** The state that conditions the UNet for ids (B, L): (B, L, width). The caller owns the result. */
export async function hiddenState(
  encoder: CLIPTextModel,
  ids: Tensor,
  { clipSkip, signal, attentionMask }: LayerOptions & { attentionMask?: Tensor } = {},
): Promise<Tensor> {
  const depth = encoder.config.num_hidden_layers
  if (clipSkip !== undefined && !(Number.isInteger(clipSkip) && clipSkip >= 0 && clipSkip <= depth)) {
    throw expected(`a whole number from 0 to ${depth}`, 'clipSkip', clipSkip)
  }
  using scope = new Scope()
  const output = await encoder.forward(ids, { outputHiddenStates: clipSkip !== undefined, attentionMask, signal })
  const last = scope.keep(output.lastHiddenState)
  scope.keep(output.poolerOutput)
  const states = output.hiddenStates?.map((state) => scope.keep(state)) ?? []
  const chosen = clipSkip === undefined ? undefined : states.at(-(clipSkip + 1))
  return chosen === undefined ? scope.release(last) : await encoder.finalLayerNorm(chosen, { signal })
}
