import { Scope } from '../../scope.ts'
import { Tensor } from '../../tensor.ts'
import { promptError } from '../place.ts'
import { type CompelEncoder, type CompelOptions, encodeFragments, fragmentsOf } from './embeddings.ts'
import { parseCompel } from './parse.ts'
import type { Blend, FlatPrompt } from './syntax.ts'

/**
 * Encodes a prompt in compel's syntax: (1, tokens, width), owned by the caller; tokens are a multiple of 77.
 *
 * A `.swap()` gives the conditioning of its original text. Throws `InvalidArgumentError` where `parseCompel` does, and for a prompt of LoRAs alone. Source: compel 2.5.1
 * `Compel.build_conditioning_tensor`.
 */
export async function encodeCompel(encoder: CompelEncoder, prompt: string, options: CompelOptions = {}): Promise<Tensor> {
  const { parts, weights } = parseCompel(prompt)
  if (parts.length === 0) {
    throw promptError('Expected some text beside the LoRAs', prompt, 0)
  }
  using scope = new Scope()
  const encoded: Tensor[] = []
  for (const [i, part] of parts.entries()) {
    const plain = scope.keep(await encodePart(encoder, part, options))
    const weight = weights[i] ?? 1
    encoded.push(weight === 1 ? plain : scope.keep(await towardsEmpty(encoder, plain, weight, options)))
  }
  return Tensor.cat(encoded, 1)
}

/** Appends the encoding of the empty prompt until all have the same number of tokens; the results are owned by the caller. */
export async function padToSameLength(encoder: CompelEncoder, embeds: readonly Tensor[], options: CompelOptions = {}): Promise<Tensor[]> {
  const longest = Math.max(...embeds.map(({ shape }) => shape[1] ?? 0))
  using empty = await encodeCompel(encoder, '', options)
  return embeds.map((tensor) => {
    const missing = (longest - (tensor.shape[1] ?? 0)) / (empty.shape[1] ?? 1)
    return Tensor.cat([tensor, ...Array.from({ length: missing }, () => empty)], 1)
  })
}

async function encodePart(encoder: CompelEncoder, part: FlatPrompt | Blend, options: CompelOptions): Promise<Tensor> {
  if (part.kind === 'prompt') {
    return encodeFragments(encoder, fragmentsOf(part), options)
  }
  using scope = new Scope()
  const encoded: Tensor[] = []
  for (const prompt of part.prompts) {
    encoded.push(scope.keep(await encodeFragments(encoder, fragmentsOf(prompt), options)))
  }
  const padded = (await padToSameLength(encoder, encoded, options)).map((tensor) => scope.keep(tensor))
  const sum = part.normalize ? part.weights.reduce((total, weight) => total + weight, 0) : 1
  return Tensor.linearCombination(padded.map((tensor, i) => [(part.weights[i] ?? 1) / sum, tensor]))
}

async function towardsEmpty(encoder: CompelEncoder, embeds: Tensor, weight: number, options: CompelOptions): Promise<Tensor> {
  using scope = new Scope()
  const [empty = embeds] = (await padToSameLength(encoder, [await keepEmpty(encoder, scope, options), embeds], options)).map((tensor) =>
    scope.keep(tensor),
  )
  return Tensor.linearCombination([
    [1 - weight, empty],
    [weight, embeds],
  ])
}

async function keepEmpty(encoder: CompelEncoder, scope: Scope, options: CompelOptions): Promise<Tensor> {
  return scope.keep(await encodeCompel(encoder, '', options))
}
