import { checkInteger, checkOptions, checkString } from '../checks.ts'
import { expected } from '../errors.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { type BuiltPrompt, promptCategories } from './build-prompt.ts'
import { fitTokens } from './token-budget.ts'

/** A message to a language model, as chat interfaces take them. */
export interface ChatMessage {
  role: 'system' | 'user' | 'assistant'
  content: string
}

/** Options of `expandPrompt`. */
export interface ExpandPromptOptions {
  /** Any language model: gets the messages, gives its answer. */
  llm: (messages: readonly ChatMessage[]) => Promise<string> | string
  /** Holds the answer to the limit; without it the model is only told. */
  tokenizer?: CLIPTokenizer
  /** Most tokens of each prompt: two chunks of 75. @default 150 */
  tokenLimit?: number
}

/** Lets a language model turn a subject into a prompt and its negative; throws `InvalidArgumentError` for an answer without a prompt. */
export async function expandPrompt(subject: string, options: ExpandPromptOptions): Promise<BuiltPrompt> {
  const { llm, tokenizer, tokenLimit = 150 } = checkOptions('options', options)
  checkString('subject', subject)
  checkInteger('tokenLimit', tokenLimit, { min: 1 })
  if (typeof llm !== 'function') {
    throw expected('a function', 'llm', llm)
  }
  const answer: unknown = await llm(expansionMessages(subject, tokenLimit))
  const { prompt, negativePrompt } = parseExpansion(answer)
  if (tokenizer === undefined) {
    return { prompt, negativePrompt, dropped: [] }
  }
  const fitted = fitTokens(tokenizer, prompt, tokenLimit)
  return { ...fitted, negativePrompt: fitTokens(tokenizer, negativePrompt, tokenLimit).prompt }
}

/**
 * Reads the two parts of an answer: what follows "Positive Prompt:" (or the beginning) and what follows "Negative Prompt:".
 *
 * Quotes, Markdown, labels of categories and line breaks go; brackets stay as they are, balanced or not. Throws `InvalidArgumentError` if there is
 * no prompt in it.
 */
export function parseExpansion(answer: unknown): { prompt: string; negativePrompt: string } {
  if (typeof answer !== 'string') {
    throw expected('a text', 'the answer of llm', answer)
  }
  const [before = '', ...after] = answer.split(/\bnegative\s+prompts?\b[*_`\s]*[:\n]/i)
  const positive = before.split(/\bpositive\s+prompts?\b[*_`\s]*[:\n]/i).at(-1) ?? before
  const prompt = tidy(positive)
  if (prompt === '') {
    throw expected('a positive prompt in it', 'the answer of llm', answer)
  }
  return { prompt, negativePrompt: tidy(after.join(', ')) }
}

const LABEL = new RegExp(`^(?:[-*•]|\\d+[.)])?\\s*[*_]*(?:${promptCategories.join('|')}|additional details|prompt)[*_]*\\s*:\\s*`, 'i')

function tidy(text: string): string {
  return text
    .replace(/```\w*|`|\*\*|__/g, '')
    .split(/\r?\n/)
    .map((line) =>
      line
        .trim()
        .replace(LABEL, '')
        .replace(/^[-*•]\s+|^#+\s*/, '')
        .replace(/["“”]/g, '')
        .replace(/^[,.;:\s]+|[,;\s]+$/g, ''),
    )
    .filter((line) => line !== '')
    .join(', ')
    .replace(/\s+/g, ' ')
    .replace(/\s*,(\s*,)+\s*/g, ', ')
    .replace(/[.\s]+$/, '')
}

/** The messages that ask for a prompt; the structure follows "Using Stable Diffusion with Python", chapter 17. */
export function expansionMessages(subject: string, tokenLimit = 150): ChatMessage[] {
  const system = `You write prompts for the image generator Stable Diffusion. Given a subject, you expand it into a rich prompt. Your answer always has exactly
two paragraphs: the first begins with "Positive Prompt:", the second with "Negative Prompt:".

How Stable Diffusion reads prompts:
- Be specific and detailed; it draws what is named, and invents what is left open.
- Use one consistent set of words; contradictions blur the picture.
- References to works, artists and styles are strong.

Choose keywords from these nine categories. Never write the names of the categories themselves.
- Subject: who or what is seen, what it does, where.
- Medium: what the picture is made with, such as photo, oil painting, watercolor, digital art, 3d render.
- Style: the school or look, such as impressionist, surrealist, art deco, cyberpunk.
- Artist: one or more artists who fit, written as "by A and B".
- Website: where such work is shown, such as artstation or deviantart.
- Resolution: how sharp and detailed, such as highly detailed, sharp focus, 8k.
- Additional details: what gives life to the scene, such as weather, mood, clothing, background.
- Color: the palette or the leading color.
- Lighting: how it is lit, such as rim lighting, golden hour, studio light.

Form:
- Keywords separated by commas only: no sentences, no articles, no line breaks, no quotation marks, no phrases such as "the image shows".
- Words of the negative prompt name what must not be seen; never write "no" or "without" there.
- For a photo, begin the positive prompt with: (((photographic, photo, photogenic))), extremely high quality high detail RAW color photo
- For anime, begin the positive prompt with: masterpiece, best quality, (Anime:1.4)
- Do not mix photo words into drawn media, nor the other way round.
- Keep the picture tasteful: no nudity, nothing sexual.

Example, for the subject "an old harbour at dawn":
Positive Prompt: old harbour at dawn, wooden fishing boats, wet cobblestones, seagulls, oil painting, impressionist, by Claude Monet and Eugene Boudin, artstation, highly detailed, soft mist, muted blue and amber, golden hour light
Negative Prompt: modern ships, cars, people in foreground, blurry, low quality, lowres, watermark, signature, text, oversaturated, deformed

The negative prompt:
- Lists what would spoil the picture, such as: blurry, low quality, lowres, bad anatomy, extra fingers, deformed, watermark, signature, text, cropped.
- Fits the subject, and never contradicts the positive prompt.
- For a photo of a person, it contains: unrealistic eyes, bad hands. For anime, it begins with: (worst quality, low quality:1.4)

Each of the two prompts has at most ${tokenLimit} tokens. Answer with the two paragraphs and nothing else.`
  return [
    { role: 'system', content: system },
    { role: 'user', content: subject },
  ]
}
