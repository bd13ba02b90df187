import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { print, printJson } from './exit.ts'
import { table } from './table.ts'

/** `tokens`: how a prompt becomes ids, and what of it the text encoder does not see. */
export async function tokensCommand(prompt: string, flags: Record<string, unknown>): Promise<void> {
  const tokenizer = await CLIPTokenizer.fromPretrained(String(flags.model), { subfolder: 'tokenizer' })
  const { inputIds } = tokenizer.encode(prompt, { padding: false, truncation: false })
  const { truncated } = tokenizer.encode(prompt, { padding: false, truncation: true })
  const ids = Array.from(inputIds.toArray(), Number)
  const tokens = tokenizer.convertIdsToTokens(ids)
  const limit = tokenizer.modelMaxLength
  const kept = (index: number): boolean => ids.length <= limit || index < limit - 1
  const lost = truncated.filter((text) => text !== '')
  if (flags.json) {
    printJson({ tokens: ids.map((id, i) => ({ id, token: tokens[i], kept: kept(i) })), limit, truncated: lost })
    return
  }
  const rows = ids.map((id, i) => [i, id, tokens[i] ?? '', kept(i) ? '' : 'left out'])
  for (const line of table([['', 'id', 'token', ''], ...rows])) {
    print(line)
  }
  print(`${ids.length} of ${limit} tokens${lost.length > 0 ? `; left out: ${JSON.stringify(lost[0])}` : ''}`)
}
