import { copyFile, stat } from 'node:fs/promises'
import { join } from 'node:path'

/** Files of a tokenizer's vocabulary, and the small ones beside them. */
const VOCABULARY = ['merges.txt', 'vocab.json', 'tokenizer.json']
const SETTINGS = ['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json']

/** Copies the files of a tokenizer, whose vocabulary may lie in another folder; returns the names that there were. */
export async function copyTokenizer({ folder, vocabulary }: { folder: string; vocabulary: string }, target: string): Promise<string[]> {
  const places = [...VOCABULARY.map((name) => ({ name, from: vocabulary })), ...SETTINGS.map((name) => ({ name, from: folder }))]
  const copied = await Promise.all(
    places.map(async ({ name, from }) => {
      const entry = await stat(join(from, name)).catch(() => undefined)
      if (!entry?.isFile()) {
        return []
      }
      await copyFile(join(from, name), join(target, name))
      return [name]
    }),
  )
  return copied.flat()
}
