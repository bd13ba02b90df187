import { expected } from '../errors.ts'
import type { PromptCache } from '../prompt/cache.ts'
import { CallEncoder } from '../prompt/call-encoder.ts'
import { Conditioning, type PromptConditioning } from '../prompt/conditioning.ts'
import { encodePrompt } from '../prompt/encode-prompt.ts'
import type { TextEncoding } from '../prompt/encoding.ts'
import { zerosLike } from '../prompt/side-by-side.ts'
import { type TextComponents, type TextComponentsXL, textEncodersOf } from '../prompt/text-encoders.ts'
import type { Tensor } from '../tensor.ts'
import type { PromptOptionsXL } from './check-prompts.ts'

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
