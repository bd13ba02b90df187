import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { disposeEncoding, type EncoderText, type TextEncoding } from './encoding.ts'

/** The text that the i-th of a model's encoders reads. */
export function textFor({ first, second }: EncoderText, i: number): string {
  return i === 0 ? first : (second ?? first)
}

/**
 * Joins the states of a model's encoders along the width; the shorter one is filled up with the state of the empty prompt. The result
 * belongs to the caller.
 */
export async function joinEncoders(states: readonly Tensor[], emptyOf: (encoder: number) => Promise<Tensor>): Promise<Tensor> {
  const [only] = states
  if (states.length === 1 && only !== undefined) {
    return only.clone()
  }
  using scope = new Scope()
  const longest = Math.max(...states.map(tokensOf))
  const filled: Tensor[] = []
  for (const [i, state] of states.entries()) {
    const missing = longest - tokensOf(state)
    filled.push(missing === 0 ? state : scope.keep(fillUp(state, scope.keep(await emptyOf(i)), longest)))
  }
  return Tensor.cat(filled, 2)
}

/** Appends the state of the empty prompt (1, n, width) until a state has `tokens` tokens, a multiple of n away. */
export function fillUp(state: Tensor, empty: Tensor, tokens: number): Tensor {
  const times = (tokens - tokensOf(state)) / tokensOf(empty)
  return Tensor.cat([state, ...Array.from({ length: times }, () => empty)], 1)
}

/** The encoding of a prompt that the model wants as zeros; frees the one that gave the shape. */
export function zeroed(encoding: TextEncoding): TextEncoding {
  const zeros = zerosLike(encoding)
  disposeEncoding(encoding)
  return zeros
}

/** Zeros of an encoding's shape, without tokens. */
export function zerosLike({ embeds, pooled }: TextEncoding): TextEncoding {
  return { embeds: embeds.mul(0), pooled: pooled?.mul(0), chunks: [], cut: '', zeros: true }
}

/** Number of tokens of a state (1, tokens, width). */
export function tokensOf(state: Tensor): number {
  return state.shape[1] ?? 0
}
