import { expected } from '../errors.ts'
import type { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { checkPrompts, listOf, type PromptOptions } from './conditioning.ts'

/** What turns text into SDXL's embeddings; the refiner has the second encoder only. */
export interface TextComponentsXL {
  tokenizer?: CLIPTokenizer | null
  textEncoder?: CLIPTextModel | null
  tokenizer2: CLIPTokenizer
  textEncoder2: CLIPTextModelWithProjection
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

/** Encoded text of one kind of prompt: one row per image. */
export interface EncodedXL {
  /** (images, tokens, width of both encoders). */
  embeds: Tensor
  /** (images, projection width). */
  pooled: Tensor
}

/** Encoded prompts of a call; the caller owns the tensors. */
export interface TextConditioningXL {
  positive: EncodedXL
  negative?: EncodedXL
  truncated: string[]
}

/** Checks SDXL's prompts against each other and returns their number; throws `InvalidArgumentError`. */
export function checkPromptsXL(options: PromptOptionsXL): number {
  const prompts = checkPrompts(options)
  for (const [name, text] of Object.entries({ prompt2: options.prompt2, negativePrompt2: options.negativePrompt2 })) {
    if (Array.isArray(text) && text.length !== prompts) {
      throw expected(`one text, or one for each of ${prompts} prompts`, name, text)
    }
  }
  if (options.prompt2 !== undefined && options.promptEmbeds !== undefined) {
    throw expected('nothing beside promptEmbeds', 'prompt2', options.prompt2)
  }
  for (const [name, embeds, pooled] of [
    ['pooledPromptEmbeds', options.promptEmbeds, options.pooledPromptEmbeds],
    ['negativePooledPromptEmbeds', options.negativePromptEmbeds, options.negativePooledPromptEmbeds],
  ] as const) {
    if (embeds !== undefined && (pooled?.shape.length !== 2 || pooled.shape[0] !== embeds.shape[0])) {
      throw expected(`a Tensor of shape (${embeds.shape[0]}, width)`, name, pooled)
    }
  }
  return prompts
}

/**
 * Encodes prompts with both encoders, from the layer before the last, without the last norm; the pooled part is the second's.
 *
 * Without a negative prompt the negative half is zeros where the model wants that. Source: diffusers `StableDiffusionXLPipeline.encode_prompt`.
 */
export async function encodePromptXL(
  components: TextComponentsXL,
  options: PromptOptionsXL & { guided: boolean; zerosForEmptyPrompt: boolean; signal?: AbortSignal },
): Promise<TextConditioningXL> {
  const { numImagesPerPrompt = 1, clipSkip = 0, guided, signal } = options
  const prompts = checkPromptsXL(options)
  using scope = new Scope()
  const truncated: string[] = []
  const encode = async (first: string[], second: string[], skip: number, maxLength?: number): Promise<EncodedXL> => {
    const encoded = await encodeBoth(components, { first, second, skip, maxLength, signal, scope })
    truncated.push(...encoded.truncated)
    return encoded
  }
  const given = (embeds: Tensor | undefined, pooled: Tensor | undefined): EncodedXL | undefined =>
    embeds && pooled ? { embeds, pooled } : undefined
  const positive =
    given(options.promptEmbeds, options.pooledPromptEmbeds) ??
    (await encode(listOf(options.prompt, prompts), listOf(options.prompt2 ?? options.prompt, prompts), clipSkip))
  const negative = !guided
    ? undefined
    : (given(options.negativePromptEmbeds, options.negativePooledPromptEmbeds) ??
      (options.negativePrompt === undefined && options.zerosForEmptyPrompt
        ? { embeds: scope.keep(positive.embeds.mul(0)), pooled: scope.keep(positive.pooled.mul(0)) }
        : await encode(
            listOf(options.negativePrompt, prompts),
            listOf(options.negativePrompt2 ?? options.negativePrompt, prompts),
            0,
            positive.embeds.shape[1],
          )))
  const spread = ({ embeds, pooled }: EncodedXL): EncodedXL => ({
    embeds: embeds.repeatInterleave(numImagesPerPrompt, 0),
    pooled: pooled.repeatInterleave(numImagesPerPrompt, 0),
  })
  return { positive: spread(positive), negative: negative && spread(negative), truncated: [...new Set(truncated)] }
}

async function encodeBoth(
  { tokenizer, textEncoder, tokenizer2, textEncoder2 }: TextComponentsXL,
  {
    first,
    second,
    skip,
    maxLength,
    signal,
    scope,
  }: { first: string[]; second: string[]; skip: number; maxLength?: number; signal?: AbortSignal; scope: Scope },
): Promise<EncodedXL & { truncated: string[] }> {
  const both = tokenizer && textEncoder ? ([[tokenizer, textEncoder, first]] as const) : []
  const truncated: string[] = []
  const hidden: Tensor[] = []
  let pooled: Tensor | undefined
  for (const [reader, encoder, texts] of [...both, [tokenizer2, textEncoder2, both.length === 0 ? first : second] as const]) {
    const depth = encoder.config.num_hidden_layers
    if (skip > depth - 1) {
      throw expected(`a whole number from 0 to ${depth - 1}`, 'clipSkip', skip)
    }
    const tokens = reader.encode(texts, { padding: 'max_length', truncation: true, maxLength: maxLength ?? reader.modelMaxLength })
    truncated.push(...tokens.truncated.filter((lost) => lost !== ''))
    scope.keep(tokens.attentionMask)
    const output = await encoder.forward(scope.keep(tokens.inputIds), { outputHiddenStates: true, signal })
    scope.keep(output.lastHiddenState)
    scope.keep(output.poolerOutput)
    const states = output.hiddenStates?.map((state) => scope.keep(state)) ?? []
    hidden.push(states.at(-(skip + 2)) ?? output.lastHiddenState)
    pooled = 'textEmbeds' in output ? scope.keep(output.textEmbeds as Tensor) : output.poolerOutput
  }
  return { embeds: scope.keep(Tensor.cat(hidden, 2)), pooled: pooled ?? scope.keep(Tensor.zeros([first.length, 1])), truncated }
}
