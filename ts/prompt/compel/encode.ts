import type { CLIPTokenizer } from '../../models/clip-tokenizer.ts'
import { Scope } from '../../scope.ts'
import { Tensor } from '../../tensor.ts'
import type { EncoderText, PromptChunk, PromptEncoder, TextEncoding } from '../encoding.ts'
import { encodeState, type LayerOptions } from '../hidden-states.ts'
import { promptError } from '../place.ts'
import { joinEncoders, textFor } from '../side-by-side.ts'
import type { ClipEncoder, TextEncoders } from '../text-encoders.ts'
import { type CompelOptions, encodeFragments, fragmentChunks, fragmentsOf } from './embeddings.ts'
import { parseCompel } from './parse.ts'
import type { Blend, FlatPrompt } from './syntax.ts'

/**
 * Encodes a prompt in compel's syntax: (1, tokens, width), owned by the caller; tokens are a multiple of 77.
 *
 * A `.swap()` gives the conditioning of its original text. Throws `InvalidArgumentError` where `parseCompel` does, and for a prompt of LoRAs alone. Source: compel 2.5.1
 * `Compel.build_conditioning_tensor`.
 */
export async function encodeCompel(encoder: ClipEncoder, prompt: string, options: CompelOptions = {}): Promise<Tensor> {
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
export async function padToSameLength(encoder: ClipEncoder, embeds: readonly Tensor[], options: CompelOptions = {}): Promise<Tensor[]> {
  const longest = Math.max(...embeds.map(({ shape }) => shape[1] ?? 0))
  using empty = await encodeCompel(encoder, '', options)
  return embeds.map((tensor) => {
    const missing = (longest - (tensor.shape[1] ?? 0)) / (empty.shape[1] ?? 1)
    return Tensor.cat([tensor, ...Array.from({ length: missing }, () => empty)], 1)
  })
}

async function encodePart(encoder: ClipEncoder, part: FlatPrompt | Blend, options: CompelOptions): Promise<Tensor> {
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

async function towardsEmpty(encoder: ClipEncoder, embeds: Tensor, weight: number, options: CompelOptions): Promise<Tensor> {
  using scope = new Scope()
  const [empty = embeds] = (await padToSameLength(encoder, [await keepEmpty(encoder, scope, options), embeds], options)).map((tensor) =>
    scope.keep(tensor),
  )
  return Tensor.linearCombination([
    [1 - weight, empty],
    [weight, embeds],
  ])
}

async function keepEmpty(encoder: ClipEncoder, scope: Scope, options: CompelOptions): Promise<Tensor> {
  return scope.keep(await encodeCompel(encoder, '', options))
}

/**
 * Encodes texts for all encoders of a model as compel does; nothing is cut unless `truncateLongPrompts` is true.
 *
 * SDXL reads the layer before the last of both encoders, and the pooled part is that of the text as it is written, syntax included. Source:
 * compel 2.5.1 `CompelForSD`, `CompelForSDXL`.
 */
export function compelEncoder({ family, encoders }: TextEncoders, { clipSkip, ...given }: CompelOptions): PromptEncoder {
  const layers: LayerOptions = family === 'sd' ? { clipSkip } : { clipSkip: (clipSkip ?? 0) + 1, norm: false }
  const options: CompelOptions = { truncateLongPrompts: false, ...given, ...layers }
  const encode = async (text: EncoderText): Promise<TextEncoding> => {
    using scope = new Scope()
    const states: Tensor[] = []
    for (const [i, encoder] of encoders.entries()) {
      states.push(scope.keep(await encodeCompel(encoder, textFor(text, i), options)))
    }
    const embeds = await joinEncoders(states, (i) => encodeCompel(encoders[i] ?? encoders[0], '', options))
    const last = encoders.length - 1
    const pooled = family === 'sd' ? undefined : await pooledOf(encoders[last] ?? encoders[0], textFor(text, last), options)
    return { embeds, pooled, ...compelChunks(encoders[0].tokenizer, text.first, options) }
  }
  return { encode }
}

async function pooledOf({ tokenizer, textEncoder }: ClipEncoder, text: string, { signal }: CompelOptions): Promise<Tensor | undefined> {
  const { inputIds, attentionMask } = tokenizer.encode(tokenizer.expandPrompt(text), { padding: 'max_length', truncation: true })
  using ids = inputIds
  using _mask = attentionMask
  const { hidden, pooled } = await encodeState(textEncoder, [Array.from<number | bigint, number>(ids.toArray(), Number)], { signal })
  hidden.dispose()
  return pooled
}

/** The tokens of a text in compel's syntax, and what of it was cut; each prompt of a blend by itself. */
export function compelChunks(tokenizer: CLIPTokenizer, text: string, options: CompelOptions): { chunks: PromptChunk[]; cut: string } {
  const prompts = parseCompel(text).parts.flatMap((part) => (part.kind === 'blend' ? part.prompts : [part]))
  const read = prompts.map((prompt) => fragmentChunks(tokenizer, fragmentsOf(prompt), options))
  return {
    chunks: read.flatMap(({ chunks }) => chunks),
    cut: read
      .map(({ cut }) => cut)
      .join(' ')
      .trim(),
  }
}
