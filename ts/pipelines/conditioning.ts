import { expected } from '../errors.ts'
import type { PromptCache } from '../prompt/cache.ts'
import { CallEncoder } from '../prompt/call-encoder.ts'
import { Conditioning, type PromptConditioning } from '../prompt/conditioning.ts'
import { encodePrompt } from '../prompt/encode-prompt.ts'
import type { TextEncoding } from '../prompt/encoding.ts'
import { zerosLike } from '../prompt/side-by-side.ts'
import type { PromptStyle } from '../prompt/styles.ts'
import type { PromptSyntax } from '../prompt/syntax-choice.ts'
import { type TextComponents, type TextComponentsXL, textEncodersOf } from '../prompt/text-encoders.ts'
import type { Wildcards } from '../prompt/wildcards.ts'
import { Tensor } from '../tensor.ts'

/** The prompts of a call, as given. */
export interface PromptOptions {
  prompt?: string | string[]
  negativePrompt?: string | string[]
  conditioning?: Conditioning
  promptEmbeds?: Tensor
  negativePromptEmbeds?: Tensor
  /** @default 1 */
  numImagesPerPrompt?: number
  clipSkip?: number
  promptSyntax?: PromptSyntax
  negativePromptFrom?: number
  styles?: readonly PromptStyle[]
  wildcards?: Wildcards
}

/** The prompts of an SDXL call. */
export interface PromptOptionsXL extends PromptOptions {
  /** Text for the second encoder. @default `prompt` */
  prompt2?: string | string[]
  /** Negative text for the second encoder. @default `negativePrompt` */
  negativePrompt2?: string | string[]
  /** Pooled embedding (prompts, width), needed beside `promptEmbeds`. */
  pooledPromptEmbeds?: Tensor
  /** Pooled embedding of the negative prompts, needed beside `negativePromptEmbeds`. */
  negativePooledPromptEmbeds?: Tensor
}

/**
 * Checks the prompts against each other and returns their number.
 *
 * Throws `InvalidArgumentError` unless exactly one of `prompt`, `conditioning` and `promptEmbeds` is given, at most one of their negatives, and
 * all agree in number and shape.
 */
export function checkPrompts({ prompt, negativePrompt, conditioning, promptEmbeds, negativePromptEmbeds, ...rest }: PromptOptions): number {
  if ([prompt, conditioning, promptEmbeds].filter((value) => value !== undefined).length !== 1) {
    throw expected('exactly one of prompt, conditioning and promptEmbeds', 'prompt', prompt)
  }
  if (conditioning !== undefined) {
    return checkConditioning(conditioning, { negativePrompt, negativePromptEmbeds, ...rest })
  }
  checkText('prompt', prompt)
  checkText('negativePrompt', negativePrompt)
  for (const [name, value] of Object.entries({ promptEmbeds, negativePromptEmbeds })) {
    if (value !== undefined && !(value instanceof Tensor)) {
      throw expected('a Tensor', name, value)
    }
  }
  if (negativePrompt !== undefined && negativePromptEmbeds !== undefined) {
    throw expected('at most one of negativePrompt and negativePromptEmbeds', 'negativePrompt', negativePrompt)
  }
  if (promptEmbeds !== undefined && promptEmbeds.shape.length !== 3) {
    throw expected('a Tensor of shape (prompts, tokens, width)', 'promptEmbeds', promptEmbeds)
  }
  for (const [name, value] of Object.entries({ styles: rest.styles, wildcards: rest.wildcards })) {
    if (value !== undefined && promptEmbeds !== undefined) {
      throw expected('nothing beside promptEmbeds', name, value)
    }
  }
  const prompts = promptEmbeds?.shape[0] ?? (Array.isArray(prompt) ? prompt.length : 1)
  if (Array.isArray(negativePrompt) && negativePrompt.length !== prompts) {
    throw expected(`one text, or one for each of ${prompts} prompts`, 'negativePrompt', negativePrompt)
  }
  if (negativePromptEmbeds !== undefined) {
    const shape = promptEmbeds?.shape ?? [prompts, ...negativePromptEmbeds.shape.slice(1)]
    if (negativePromptEmbeds.shape.length !== 3 || String(negativePromptEmbeds.shape) !== String(shape)) {
      throw expected(`a Tensor of shape (${shape.join(', ')})`, 'negativePromptEmbeds', negativePromptEmbeds)
    }
  }
  return prompts
}

/** A conditioning says everything about its prompts. */
function checkConditioning(conditioning: Conditioning, { numImagesPerPrompt: _, ...others }: PromptOptions): number {
  if (!(conditioning instanceof Conditioning)) {
    throw expected('a Conditioning', 'conditioning', conditioning)
  }
  for (const [name, value] of Object.entries(others)) {
    const decided = [
      'negativePrompt',
      'negativePromptEmbeds',
      'clipSkip',
      'promptSyntax',
      'styles',
      'wildcards',
      'prompt2',
      'negativePrompt2',
    ]
    if (value !== undefined && (decided.includes(name) || (name === 'negativePromptFrom' && value !== 0))) {
      throw expected('nothing beside conditioning, which has it already,', name, value)
    }
  }
  return conditioning.prompts.length
}

function checkText(name: string, value: unknown): void {
  const texts: unknown[] = Array.isArray(value) ? value : [value ?? '']
  if (texts.length === 0 || !texts.every((text) => typeof text === 'string')) {
    throw expected('a string or a non-empty array of strings', name, value)
  }
}

/** What a call's conditioning depends on beside its options. */
export interface CallConditioning {
  components: TextComponents | TextComponentsXL
  guided: boolean
  /** UNet calls of the whole schedule, from which image to image leaves some out. */
  steps: number
  /** SDXL: an absent negative prompt is zeros. */
  zerosForEmptyPrompt?: boolean
  cache?: PromptCache
  signal?: AbortSignal
}

/** The conditioning of a call: the given one, or one that the caller of this owns. */
export async function callConditioning(options: PromptOptionsXL, call: CallConditioning): Promise<Conditioning> {
  const { conditioning, prompt, negativePromptEmbeds, promptSyntax: syntax, clipSkip } = options
  if (conditioning !== undefined) {
    if (conditioning.steps !== undefined && conditioning.steps !== call.steps) {
      throw expected(`a Conditioning for ${call.steps} UNet calls`, 'conditioning', `one whose schedule is for ${conditioning.steps}`)
    }
    return conditioning
  }
  const { negativePrompt, prompt2, negativePrompt2, negativePromptFrom } = options
  const { components, ...rest } = call
  if (prompt !== undefined && negativePromptEmbeds === undefined) {
    return encodePrompt(components, prompt, { negativePrompt, prompt2, negativePrompt2, negativePromptFrom, syntax, clipSkip, ...rest })
  }
  return withEmbeds(options, call)
}

/** Prompts, negative prompts or both come as embeddings. */
async function withEmbeds(options: PromptOptionsXL, call: CallConditioning): Promise<Conditioning> {
  const { prompt, prompt2, promptEmbeds, pooledPromptEmbeds, negativePromptEmbeds, negativePooledPromptEmbeds } = options
  const { components, cache, signal } = call
  const { promptSyntax: syntax = 'plain', clipSkip, negativePromptFrom = 0 } = options
  const text = prompt === undefined ? undefined : { syntax, prompt2, clipSkip, negativePromptFrom, ...call, guided: false }
  const read = prompt === undefined || text === undefined ? undefined : await encodePrompt(components, prompt, text)
  const rows = promptEmbeds === undefined ? undefined : rowsOf(promptEmbeds, pooledPromptEmbeds)
  const prompts: PromptConditioning[] =
    read?.prompts.slice() ??
    (rows ?? []).map((encoding) => ({ prompt: '', negativePrompt: '', parts: [{ weight: 1, texts: always(encoding) }] }))
  const given = { syntax: read?.syntax ?? ('embeds' as const), steps: read?.steps, empty: read?.empty, loras: read?.loras }
  if (!call.guided) {
    return new Conditioning({ ...given, prompts })
  }
  const tokens = promptEmbeds?.shape[1]
  const encoders = textEncodersOf(components)
  using encoder = new CallEncoder(encoders, { syntax: 'plain', negativeLength: tokens, cache, signal })
  const negatives = negativePromptEmbeds && rowsOf(negativePromptEmbeds, negativePooledPromptEmbeds)
  const limit = encoders.encoders[0].tokenizer.modelMaxLength
  if (negatives === undefined && tokens !== undefined && tokens > limit) {
    throw expected(`negativePromptEmbeds beside promptEmbeds of more than ${limit} tokens`, 'negativePromptEmbeds', undefined)
  }
  const whole: PromptConditioning[] = []
  for (const [i, item] of prompts.entries()) {
    const positive = rows?.[i]
    whole.push({ ...item, negative: always(negatives?.[i] ?? (await negativeOf(encoder, positive, i, options, call))) })
  }
  const blank = negativePromptFrom > 0 ? await encoder.one({ first: '' }, 'negative') : undefined
  const conditioning = new Conditioning({ ...given, prompts: whole, blank, negativeFrom: negativePromptFrom })
  encoder.release(conditioning.encodings())
  return conditioning
}

async function negativeOf(
  encoder: CallEncoder,
  positive: TextEncoding | undefined,
  i: number,
  { negativePrompt, negativePrompt2 }: PromptOptionsXL,
  { zerosForEmptyPrompt }: CallConditioning,
): Promise<TextEncoding> {
  if (negativePrompt === undefined && zerosForEmptyPrompt && positive?.pooled !== undefined) {
    return encoder.adopt(zerosLike(positive))
  }
  const textAt = (texts: string | string[] | undefined): string | undefined => (Array.isArray(texts) ? texts[i] : texts)
  return encoder.one({ first: textAt(negativePrompt) ?? '', second: textAt(negativePrompt2) }, 'negative')
}

/** Embeddings (prompts, tokens, width) as one encoding for each prompt. */
function rowsOf(embeds: Tensor, pooled: Tensor | undefined): TextEncoding[] {
  return Array.from({ length: embeds.shape[0] ?? 0 }, (_, i) => ({
    embeds: embeds.slice(0, i, i + 1),
    pooled: pooled?.slice(0, i, i + 1),
    chunks: [],
    cut: '',
  }))
}

function always(encoding: TextEncoding): { until: number; text: string; encoding: TextEncoding }[] {
  return [{ until: Number.POSITIVE_INFINITY, text: '', encoding }]
}
