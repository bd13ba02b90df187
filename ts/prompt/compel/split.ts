import type { CLIPTokenizer } from '../../models/clip-tokenizer.ts'

/** Where a long prompt may be split: after a full stop, after punctuation, after a word, or anywhere. */
export type SplitMode = 'sentences' | 'phrases' | 'words' | 'brutal'

const FALLBACKS: Record<SplitMode, readonly SplitMode[]> = {
  sentences: ['sentences', 'phrases', 'words'],
  phrases: ['phrases', 'words'],
  words: ['words'],
  brutal: [],
}
const ENDS: Record<SplitMode, (token: string) => boolean> = {
  sentences: (token) => token === '.</w>',
  phrases: (token) => ['.</w>', ',</w>', ';</w>', ':</w>'].includes(token),
  words: (token) => token.endsWith('</w>'),
  brutal: () => true,
}

/** How many of the tokens go into a chunk with room for `room`. Source: compel `_find_next_best_split_point`. */
export function splitPoint(tokenizer: CLIPTokenizer, ids: readonly number[], room: number, mode: SplitMode): number {
  if (ids.length <= room) {
    return room
  }
  const tokens = tokenizer.convertIdsToTokens(ids.slice(0, room))
  for (const place of FALLBACKS[mode]) {
    const last = tokens.findLastIndex(ENDS[place])
    if (last >= 0) {
      return last + 1
    }
  }
  return room
}
