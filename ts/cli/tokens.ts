import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { describePrompt, type PromptDescription } from '../prompt/describe.ts'
import type { PromptSyntax } from '../prompt/syntax-choice.ts'
import { print, printJson } from './exit.ts'
import { table } from './table.ts'
import { wholeNumber } from './whole-number.ts'

/** `tokens`: how a prompt is read, becomes ids, and what of it the text encoder does not see. */
export async function tokensCommand(prompt: string, flags: Record<string, unknown>): Promise<void> {
  const tokenizer = await CLIPTokenizer.fromPretrained(String(flags.model), { subfolder: 'tokenizer' })
  const steps = wholeNumber('--steps', flags.steps ?? 20, 1)
  const syntax = (flags.syntax ?? 'plain') as PromptSyntax
  if (syntax === 'plain') {
    plainTokens(tokenizer, prompt, flags.json === true)
    return
  }
  const description = describePrompt(tokenizer, prompt, { syntax, steps })
  if (flags.json) {
    printJson({ ...description, limit: tokenizer.modelMaxLength })
    return
  }
  for (const line of descriptionLines(description, tokenizer.modelMaxLength - 2)) {
    print(line)
  }
}

function plainTokens(tokenizer: CLIPTokenizer, prompt: string, json: boolean): void {
  const { inputIds } = tokenizer.encode(prompt, { padding: false, truncation: false })
  const { truncated } = tokenizer.encode(prompt, { padding: false, truncation: true })
  const ids = Array.from(inputIds.toArray(), Number)
  const tokens = tokenizer.convertIdsToTokens(ids)
  const limit = tokenizer.modelMaxLength
  const kept = (index: number): boolean => ids.length <= limit || index < limit - 1
  const lost = truncated.filter((text) => text !== '')
  if (json) {
    printJson({ tokens: ids.map((id, i) => ({ id, token: tokens[i], kept: kept(i) })), limit, truncated: lost })
    return
  }
  const rows = ids.map((id, i) => [i, id, tokens[i] ?? '', kept(i) ? '' : 'left out'])
  for (const line of table([['', 'id', 'token', ''], ...rows])) {
    print(line)
  }
  print(`${ids.length} of ${limit} tokens${lost.length > 0 ? `; left out: ${JSON.stringify(lost[0])}` : ''}`)
}

/** A prompt's parts, schedule and tokens as lines; each distinct text is split into tokens once. */
export function descriptionLines({ parts, loras }: PromptDescription, size: number): string[] {
  const lines: string[] = loras.map(({ name, weight }) => `LoRA ${name}, weight ${weight}`)
  for (const [i, { weight, texts }] of parts.entries()) {
    if (parts.length > 1 || weight !== 1) {
      lines.push(`Part ${i + 1} of ${parts.length}, weight ${weight}`)
    }
    if (texts.length > 1) {
      const rows = texts.map(({ firstCall, lastCall, text }) => [firstCall === lastCall ? firstCall : `${firstCall}-${lastCall}`, text])
      lines.push(...table([['steps', 'text'], ...rows]), '')
    }
    for (const { text, chunks, cut } of new Map(texts.map((entry) => [entry.text, entry])).values()) {
      if (texts.length > 1) {
        lines.push(`"${text}"`)
      }
      const rows = chunks.flatMap(({ tokens }, chunk) =>
        tokens.map(({ id, token, weight: factor }, at) => [chunk + 1, at + 1, id, token, Number(factor.toFixed(4))]),
      )
      lines.push(...table([['chunk', '', 'id', 'token', 'weight'], ...rows]))
      const counts = chunks.map(({ tokens }) => tokens.length).join(' + ')
      lines.push(`${counts} of ${size} tokens a chunk${cut === '' ? '' : `; left out: ${JSON.stringify(cut)}`}`, '')
    }
  }
  return lines.slice(0, lines.at(-1) === '' ? -1 : undefined)
}
