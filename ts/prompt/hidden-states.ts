import { expected } from '../errors.ts'
import type { CLIPTextModel } from '../models/clip-text-model.ts'
import { Scope } from '../pipelines/scope.ts'
import { Tensor } from '../tensor.ts'

/** Which of the text encoder's layers is read. */
export interface LayerOptions {
  /** Layers left out at the end; the state is still normalised by the last norm. 1 = the layer before the last. */
  clipSkip?: number
  signal?: AbortSignal
}

/** Encodes rows of ids of one length: (rows, length, width). The caller owns the result. */
export async function encodeIds(encoder: CLIPTextModel, rows: readonly (readonly number[])[], options: LayerOptions = {}): Promise<Tensor> {
  using ids = Tensor.from(rows.flat(), [rows.length, rows[0]?.length ?? 0], 'i64')
  return await hiddenState(encoder, ids, options)
}

/** The state that conditions the UNet for ids (B, L): (B, L, width). The caller owns the result. */
export async function hiddenState(encoder: CLIPTextModel, ids: Tensor, { clipSkip, signal }: LayerOptions = {}): Promise<Tensor> {
  using scope = new Scope()
  const output = await encoder.forward(ids, { outputHiddenStates: clipSkip !== undefined, signal })
  const last = scope.keep(output.lastHiddenState)
  scope.keep(output.poolerOutput)
  const states = output.hiddenStates?.map((state) => scope.keep(state)) ?? []
  if (clipSkip === undefined) {
    return scope.release(last)
  }
  const chosen = states.at(-(clipSkip + 1))
  if (chosen === undefined) {
    throw expected(`a whole number below ${states.length}`, 'clipSkip', clipSkip)
  }
  return await encoder.finalLayerNorm(chosen, { signal })
}
