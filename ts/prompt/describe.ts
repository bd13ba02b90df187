import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { type ChunkOptions, webuiChunks } from './chunks.ts'
import type { CompelOptions } from './compel/embeddings.ts'
import { compelChunks } from './compel/encode.ts'
import { type PromptChunk, promptChunk } from './encoding.ts'
import type { LoraTag } from './extra-networks.ts'
import { type LpwOptions, lpwDescription } from './lpw.ts'
import { plainTokens } from './plain.ts'
import { readPrompt, type WrittenPrompt } from './read-prompt.ts'
import { type PromptSyntax, type SyntaxName, syntaxName } from './syntax-choice.ts'

/** A text of a prompt, the UNet calls that use it, and its tokens. */
export interface DescribedText {
  /** 1-based. */
  firstCall: number
  /** 1-based, included. */
  lastCall: number
  text: string
  chunks: readonly PromptChunk[]
  /** What does not fit. */
  cut: string
}

/** What a prompt means in its syntax, without any text encoder. */
export interface PromptDescription {
  syntax: SyntaxName
  /** Prompts that `AND` joins, each with its texts in the order in which they are used; a text comes again where the prompt alternates. */
  parts: { weight: number; texts: DescribedText[] }[]
  loras: LoraTag[]
}

/**
 * Reads a prompt as `encodePrompt` would, and says how it becomes tokens.
 *
 * `steps` are the UNet calls that schedules unfold over. Throws `InvalidArgumentError` where the syntax refuses the prompt.
 */
export function describePrompt(
  tokenizer: CLIPTokenizer,
  prompt: string,
  { syntax = 'plain', steps = 20 }: { syntax?: PromptSyntax; steps?: number } = {},
): PromptDescription {
  const name = syntaxName(syntax)
  const written: WrittenPrompt = { prompt }
  const { parts, loras } = readPrompt(written, { syntax, steps })
  const described = parts.map(({ weight, texts }) => {
    let firstCall = 1
    const list: DescribedText[] = []
    for (const { until, text } of texts) {
      const lastCall = Math.min(until + 1, steps)
      if (lastCall >= firstCall) {
        list.push({ firstCall, lastCall, text: text.first, ...describeText(tokenizer, text.first, syntax) })
        firstCall = lastCall + 1
      }
    }
    return { weight, texts: list }
  })
  return { syntax: name, parts: described, loras }
}

function describeText(tokenizer: CLIPTokenizer, text: string, syntax: PromptSyntax): { chunks: PromptChunk[]; cut: string } {
  const { name, ...own } = typeof syntax === 'object' ? syntax : { name: syntax }
  const settings: ChunkOptions & CompelOptions & LpwOptions = own
  switch (name) {
    case 'a1111':
      return { chunks: describeWebui(tokenizer, text, settings), cut: '' }
    case 'compel':
      return compelChunks(tokenizer, text, { truncateLongPrompts: false, ...settings })
    case 'lpw':
      return lpwDescription(tokenizer, text, settings)
    default: {
      const { chunk, cut } = plainTokens(tokenizer, text)
      return { chunks: [chunk], cut }
    }
  }
}

function describeWebui(tokenizer: CLIPTokenizer, text: string, options: { commaBacktrack?: number }): PromptChunk[] {
  return webuiChunks(tokenizer, text, options).map(({ ids, weights, tokenCount }) =>
    promptChunk(tokenizer, ids.slice(1, tokenCount + 1), weights.slice(1, tokenCount + 1)),
  )
}
