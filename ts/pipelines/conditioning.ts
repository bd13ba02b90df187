import { checkInteger } from '../checks.ts'
import { expected } from '../errors.ts'
import { CLIPTextModel } from '../models/clip-text-model.ts'
import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { hiddenState } from '../prompt/hidden-states.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'

/** What turns text into embeddings. */
export interface TextComponents {
  tokenizer: CLIPTokenizer
  textEncoder: CLIPTextModel
}

/** The prompts of a call, as given. */
export interface PromptOptions {
  prompt?: string | string[]
  negativePrompt?: string | string[]
  promptEmbeds?: Tensor
  negativePromptEmbeds?: Tensor
  /** @default 1 */
  numImagesPerPrompt?: number
  /** 1 = the layer before the last, its output still normalised by the last norm. */
  clipSkip?: number
}

/** Encoded prompts: one row per image, both (images, tokens, width). */
export interface TextConditioning {
  promptEmbeds: Tensor
  /** Absent without guidance. */
  negativePromptEmbeds?: Tensor
  /** Text that did not fit, one entry per prompt that lost some. */
  truncated: string[]
}

/**
 * Checks the prompts against each other and returns their number.
 *
 * Throws `InvalidArgumentError` unless exactly one of `prompt` and `promptEmbeds` is given, at most one of their negatives, and
 * all agree in number and shape.
 */
export function checkPrompts({ prompt, negativePrompt, promptEmbeds, negativePromptEmbeds }: PromptOptions): number {
  if ((prompt === undefined) === (promptEmbeds === undefined)) {
    throw expected('exactly one of prompt and promptEmbeds', 'prompt', prompt)
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

function checkText(name: string, value: unknown): void {
  const texts: unknown[] = Array.isArray(value) ? value : [value ?? '']
  if (texts.length === 0 || !texts.every((text) => typeof text === 'string')) {
    throw expected('a string or a non-empty array of strings', name, value)
  }
}

/**
 * Encodes prompts, and negative prompts if `guided`, into one row per image; the caller owns the tensors.
 *
 * Source: diffusers `StableDiffusionPipeline.encode_prompt`.
 */
export async function encodePrompt(
  components: TextComponents,
  options: PromptOptions & { guided: boolean; signal?: AbortSignal },
): Promise<TextConditioning> {
  const { numImagesPerPrompt = 1, clipSkip, guided, signal } = options
  const prompts = checkPrompts(options)
  checkInteger('numImagesPerPrompt', numImagesPerPrompt, { min: 1 })
  if (clipSkip !== undefined) {
    checkInteger('clipSkip', clipSkip, { min: 0 })
  }
  if (!(components?.tokenizer instanceof CLIPTokenizer && components.textEncoder instanceof CLIPTextModel)) {
    throw expected('an object with a CLIPTokenizer as tokenizer and a CLIPTextModel as textEncoder', 'components', components)
  }
  using scope = new Scope()
  const truncated: string[] = []
  const encode = async (texts: string[], maxLength: number, skip?: number): Promise<Tensor> => {
    const encoded = await encodeTexts(components, texts, { maxLength, clipSkip: skip, signal })
    truncated.push(...encoded.truncated)
    return scope.keep(encoded.embeds)
  }
  const limit = components.tokenizer.modelMaxLength
  const positive = options.promptEmbeds ?? (await encode(listOf(options.prompt, prompts), limit, clipSkip))
  const tokens = positive.shape[1] ?? limit
  let negative: Tensor | undefined
  if (guided) {
    negative = options.negativePromptEmbeds
    if (negative === undefined && tokens > limit) {
      throw expected(`negativePromptEmbeds beside promptEmbeds of more than ${limit} tokens`, 'negativePromptEmbeds', negative)
    }
    negative ??= await encodeOnce(listOf(options.negativePrompt ?? '', prompts), (texts) => encode(texts, tokens), scope)
  }
  return {
    promptEmbeds: positive.repeatInterleave(numImagesPerPrompt, 0),
    negativePromptEmbeds: negative?.repeatInterleave(numImagesPerPrompt, 0),
    truncated: [...new Set(truncated)],
  }
}

/** Runs the text encoder on equal texts only once. */
async function encodeOnce(texts: string[], encode: (texts: string[]) => Promise<Tensor>, scope: Scope): Promise<Tensor> {
  const first = texts[0] ?? ''
  if (texts.length === 1 || texts.some((text) => text !== first)) {
    return encode(texts)
  }
  return scope.keep((await encode([first])).repeatInterleave(texts.length, 0))
}

/** One text per prompt. */
export function listOf(text: string | string[] | undefined, length: number): string[] {
  return Array.isArray(text) ? text : Array.from({ length }, () => text ?? '')
}

/** Tokenizes (padded and truncated to `maxLength`) and encodes texts; `clipSkip` counts layers back from the last. */
export async function encodeTexts(
  { tokenizer, textEncoder }: TextComponents,
  texts: string[],
  { maxLength, clipSkip, signal }: { maxLength: number; clipSkip?: number; signal?: AbortSignal },
): Promise<{ embeds: Tensor; truncated: string[] }> {
  const tokens = tokenizer.encode(texts, { padding: 'max_length', truncation: true, maxLength })
  using ids = tokens.inputIds
  using _mask = tokens.attentionMask
  const truncated = tokens.truncated.filter((lost) => lost !== '')
  return { embeds: await hiddenState(textEncoder, ids, { clipSkip, signal }), truncated }
}
