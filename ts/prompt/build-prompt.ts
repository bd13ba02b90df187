import { checkInteger, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { fitTokens } from './token-budget.ts'

/** Text, or text with a weight. */
export type Keyword = string | { text: string; weight: number }

/** What a picture is described by, in the order of importance. */
export interface PromptKeywords {
  /** What is seen: "a lighthouse on a cliff". */
  subject: Keyword
  /** What it is made with: "oil painting", "photo", "anime". */
  medium?: Keyword | readonly Keyword[]
  /** How it looks: "surrealist", "pop art". */
  style?: Keyword | readonly Keyword[]
  /** Whose work it recalls; several are joined as "by A and B". */
  artist?: Keyword | readonly Keyword[]
  /** Where such pictures are shown: "artstation". */
  website?: Keyword | readonly Keyword[]
  /** How sharp and detailed: "highly detailed", "8k". */
  resolution?: Keyword | readonly Keyword[]
  /** Anything else that is seen or felt: "stormy sky". */
  details?: Keyword | readonly Keyword[]
  /** "iridescent gold". */
  color?: Keyword | readonly Keyword[]
  /** "rim lighting", "dark". */
  lighting?: Keyword | readonly Keyword[]
}

/** Options of `buildPrompt`. */
export interface BuildPromptOptions {
  /** Counts tokens; without it nothing is left out. */
  tokenizer?: CLIPTokenizer
  /** Most tokens of the prompt: two chunks of 75. @default 150 */
  tokenLimit?: number
  /** Words that make pictures of this medium better, at the beginning and in the negative prompt. @default found in `medium` */
  kind?: 'photo' | 'anime' | 'other'
}

/** A prompt with its negative; `dropped` are keywords beyond the limit. */
export interface BuiltPrompt {
  prompt: string
  negativePrompt: string
  dropped: string[]
}

/** The categories, most important first. */
export const promptCategories = ['subject', 'medium', 'style', 'artist', 'website', 'resolution', 'details', 'color', 'lighting'] as const

const BEGINNINGS = {
  photo: '(((photographic, photo, photogenic))), extremely high quality high detail RAW color photo',
  anime: 'masterpiece, best quality, (Anime:1.4)',
  other: '',
} as const
const NEGATIVES = {
  photo: 'cartoon, illustration, 3d render, blurry, low quality, lowres, jpeg artifacts, watermark, signature, text, unrealistic eyes',
  anime: '(worst quality, low quality:1.4), blurry, lowres, jpeg artifacts, watermark, signature, text',
  other: 'blurry, low quality, lowres, jpeg artifacts, watermark, signature, text, deformed',
} as const

/**
 * Writes a prompt of keywords in nine categories, for the syntaxes that know weights and long prompts ('a1111', 'lpw').
 *
 * What goes beyond the token limit is left out from the end, so that the subject stays. Throws `InvalidArgumentError` without a subject.
 * Source of the categories and of the beginnings: "Using Stable Diffusion with Python", chapter 17.
 */
export function buildPrompt(keywords: PromptKeywords, options: BuildPromptOptions = {}): BuiltPrompt {
  const given = checkOptions('keywords', keywords)
  const { tokenizer, tokenLimit = 150, kind = kindOf(given) } = checkOptions('options', options)
  checkInteger('tokenLimit', tokenLimit, { min: 1 })
  const unknown = Object.keys(given).find((name) => !(promptCategories as readonly string[]).includes(name))
  if (unknown !== undefined) {
    throw expected(`one of ${promptCategories.join(', ')}`, 'a key of keywords', unknown)
  }
  const parts = promptCategories.flatMap((name) => write(name, listOf(name, given[name])))
  if (parts.length === 0 || listOf('subject', given.subject).length === 0) {
    throw expected('a text', 'subject', given.subject)
  }
  const whole = [BEGINNINGS[kind], ...parts].filter((part) => part !== '').join(', ')
  const fitted = tokenizer === undefined ? { prompt: whole, dropped: [] } : fitTokens(tokenizer, whole, tokenLimit)
  const negativePrompt = tokenizer === undefined ? NEGATIVES[kind] : fitTokens(tokenizer, NEGATIVES[kind], tokenLimit).prompt
  return { ...fitted, negativePrompt }
}

function listOf(name: string, value: Keyword | readonly Keyword[] | undefined): string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : value === undefined ? [] : [value]
  return list.map((item) => {
    const { text, weight } =
      typeof item === 'object' && item !== null ? (item as Partial<{ text: unknown; weight: unknown }>) : { text: item, weight: 1 }
    if (typeof text !== 'string' || text.trim() === '' || typeof weight !== 'number' || !Number.isFinite(weight)) {
      throw expected('a text, or an object with a text and a weight', name, item)
    }
    return weight === 1 ? text.trim() : `(${text.trim()}:${weight})`
  })
}

function write(name: string, texts: readonly string[]): string[] {
  return name === 'artist' && texts.length > 0 ? [`by ${texts.join(' and ')}`] : [...texts]
}

function kindOf({ medium }: PromptKeywords): 'photo' | 'anime' | 'other' {
  const text = JSON.stringify(medium ?? '').toLowerCase()
  return /\bphoto/.test(text) ? 'photo' : /\b(anime|manga)\b/.test(text) ? 'anime' : 'other'
}
