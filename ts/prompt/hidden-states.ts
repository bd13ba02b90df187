import { expected } from '../errors.ts'
import type { CLIPTextModel, CLIPTextModelWithProjection, CLIPTextModelWithProjectionOutput } from '../models/clip-text-model.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'

/** A text encoder, with or without a projection. */
export type AnyTextEncoder = CLIPTextModel | CLIPTextModelWithProjection

/** Which of the text encoder's layers is read. */
export interface LayerOptions {
  /** Layers left out at the end: 1 = the layer before the last. */
  clipSkip?: number
  /** Whether an earlier layer's state goes through the last norm, as SD 1.x and 2.x want it and SDXL does not. @default true */
  norm?: boolean
  signal?: AbortSignal
}

/** Rows of 1 (seen) and 0 (hidden from attention), one number per id. */
export type TokenMask = readonly (readonly number[])[]

/** What conditions the UNet, owned by the caller. */
export interface TextState {
  /** (B, L, width). */
  hidden: Tensor
  /** The projected end-of-text state (B, P), where the encoder has a projection. */
  pooled?: Tensor
}

/** Encodes rows of ids of one length. The caller owns the results. */
export async function encodeState(
  encoder: AnyTextEncoder,
  rows: readonly (readonly number[])[],
  { clipSkip, norm = true, signal, mask }: LayerOptions & { mask?: TokenMask } = {},
): Promise<TextState> {
  const depth = encoder.config.num_hidden_layers
  if (clipSkip !== undefined && !(Number.isInteger(clipSkip) && clipSkip >= 0 && clipSkip <= depth)) {
    throw expected(`a whole number from 0 to ${depth}`, 'clipSkip', clipSkip)
  }
  using scope = new Scope()
  const shape = [rows.length, rows[0]?.length ?? 0]
  const ids = scope.keep(Tensor.from(rows.flat(), shape, 'i64'))
  const attentionMask = mask && scope.keep(Tensor.from(mask.flat(), shape, 'i64'))
  const output = await encoder.forward(ids, { outputHiddenStates: clipSkip !== undefined, attentionMask, signal })
  const last = scope.keep(output.lastHiddenState)
  scope.keep(output.poolerOutput)
  const states = output.hiddenStates?.map((state) => scope.keep(state)) ?? []
  const pooled = scope.keep((output as Partial<CLIPTextModelWithProjectionOutput>).textEmbeds)
  const chosen = clipSkip === undefined ? undefined : states.at(-(clipSkip + 1))
  const hidden = chosen !== undefined && norm ? scope.keep(await encoder.finalLayerNorm(chosen, { signal })) : (chosen ?? last)
  return { hidden: scope.release(hidden), pooled: pooled && scope.release(pooled) }
}

/** As `encodeState`, without the pooled part: (rows, length, width), owned by the caller. */
export async function encodeIds(
  encoder: AnyTextEncoder,
  rows: readonly (readonly number[])[],
  options: LayerOptions & { mask?: TokenMask } = {},
): Promise<Tensor> {
  const { hidden, pooled } = await encodeState(encoder, rows, options)
  pooled?.dispose()
  return hidden
}
