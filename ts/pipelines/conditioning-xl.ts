import { expected } from '../errors.ts'
import { checkPrompts, type PromptOptionsXL } from './check-prompts.ts'

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
