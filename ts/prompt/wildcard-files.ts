import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { checkString } from '../checks.ts'
import { expected } from '../errors.ts'
import type { Wildcards } from './wildcards.ts'

/** Reads every `NAME.txt` of a folder: one choice a line for `__NAME__`, `sub/NAME` for files in subfolders; `#` begins a remark. */
export async function loadWildcards(folder: string): Promise<Wildcards> {
  const files = await readdir(checkString('folder', folder), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw expected('a folder of .txt files', 'wildcards', `${folder} (${error.code})`)
  })
  const names = files.filter((file) => file.endsWith('.txt')).sort()
  const entries = await Promise.all(
    names.map(async (file) => {
      const lines = (await readFile(join(folder, file), 'utf8')).split(/\r?\n/).map((line) => line.trim())
      return [file.slice(0, -4).replaceAll('\\', '/'), lines.filter((line) => line !== '' && !line.startsWith('#'))] as const
    }),
  )
  return Object.fromEntries(entries)
}
