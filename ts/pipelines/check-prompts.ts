import { expected } from '../errors.ts'
import { Conditioning } from '../prompt/conditioning.ts'
import type { PromptStyle } from '../prompt/styles.ts'
import type { PromptSyntax } from '../prompt/syntax-choice.ts'
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
