import { z } from 'zod'
import { Conditioning } from '../prompt/conditioning.ts'
import { type PromptSyntax, syntaxName } from '../prompt/syntax-choice.ts'
import { option, share, text } from './option.ts'

const weight = z.number()
const syntax = z.custom<PromptSyntax>((value) => {
  syntaxName(value as PromptSyntax)
  return true
})

const style = z.strictObject({ name: z.string(), prompt: z.string().optional(), negativePrompt: z.string().optional() })

/** Options that say what the pictures show, and how that is read. */
export const promptShape = {
  prompt: option(text.optional(), 'a string or a non-empty array of strings', 'What the picture shows; one text, or one per prompt.'),
  negativePrompt: option(text.optional(), 'a string or a non-empty array of strings', 'What to steer away from; unused without guidance.'),
  promptSyntax: option(
    syntax.optional(),
    "'plain', 'a1111', 'compel' or 'lpw'",
    'How prompts are read: as diffusers does (plain, the default), or in the syntax of another tool.',
  ),
  conditioning: option(
    z.custom<Conditioning>((value) => value instanceof Conditioning).optional(),
    'a Conditioning',
    'Encoded prompts, instead of `prompt`.',
  ),
  negativePromptFrom: option(share.optional(), 'a number from 0 to 1', 'Share of the run after which the negative prompt begins to act.'),
  clipSkip: option(
    z.int().min(0).max(100).optional(),
    'a whole number from 0 to 100',
    'Text encoder layers to leave out; 1 = the layer before the last.',
  ),
  styles: option(
    z.array(style).optional(),
    'an array of styles with a name, prompt and negativePrompt',
    'Put around each prompt, in order.',
  ),
  wildcards: option(
    z.record(z.string(), z.array(z.string())).optional(),
    'an object of arrays of strings',
    'Turns on {a|b} and __name__ in prompts, and holds the lines of the names.',
  ),
  loraWeights: option(
    z.record(z.string(), z.union([weight, z.record(z.string(), z.unknown())])).optional(),
    'an object of weights by the name of a loaded adapter',
    'Weights of loaded adapters for this call; others keep theirs, 0 turns one off.',
  ),
  crossAttentionKwargs: option(
    z.strictObject({ scale: weight.optional() }).optional(),
    'an object with scale, a finite number',
    'scale: factor on the weights of all active adapters for this call.',
  ),
} as const
