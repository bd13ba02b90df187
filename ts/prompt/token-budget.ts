import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { parseAttention } from './attention.ts'
import { tokenIds } from './chunks.ts'

/** A prompt cut down to a number of tokens. */
export interface FittedPrompt {
  prompt: string
  /** Keywords that were left out, in order. */
  dropped: string[]
}

/** Number of tokens of a prompt, the syntax of its weights not counted. */
export function countTokens(tokenizer: CLIPTokenizer, prompt: string): number {
  return parseAttention(prompt, 'lpw').reduce((sum, [text]) => sum + tokenIds(tokenizer, text).length, 0)
}

/** Leaves out keywords from the end until a prompt has at most `limit` tokens; a keyword is what stands between commas outside brackets. */
export function fitTokens(tokenizer: CLIPTokenizer, prompt: string, limit: number): FittedPrompt {
  const keywords = splitKeywords(prompt)
  let used = 0
  const kept = keywords.findIndex((keyword, i) => {
    used += countTokens(tokenizer, keyword) + (i > 0 ? 1 : 0)
    return used > limit
  })
  const count = kept < 0 ? keywords.length : kept
  return { prompt: keywords.slice(0, count).join(', '), dropped: keywords.slice(count) }
}

/** What stands between commas outside brackets, without blanks; an unbalanced bracket closes nothing. */
export function splitKeywords(prompt: string): string[] {
  const keywords: string[] = []
  let depth = 0
  let start = 0
  for (let at = 0; at <= prompt.length; at += 1) {
    const c = prompt.charAt(at)
    if (at === prompt.length || (c === ',' && depth === 0)) {
      keywords.push(prompt.slice(start, at).trim())
      start = at + 1
    } else if (c === '\\') {
      at += 1
    } else if (c === '(' || c === '[') {
      depth += 1
    } else if (c === ')' || c === ']') {
      depth = Math.max(0, depth - 1)
    }
  }
  return keywords.filter((keyword) => keyword !== '')
}
