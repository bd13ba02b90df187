import { stat } from 'node:fs/promises'
import { extname, join, parse, resolve, sep } from 'node:path'
import { UsageError } from './exit.ts'

const pictureExtensions = ['.png', '.jpg', '.jpeg', '.webp']

/** A file name of a prompt: lower case, words with dashes, at most 48 characters. */
function slug(prompt: string): string {
  const words = prompt
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[^\p{Letter}\p{Number}]+/gu, '-')
  return (
    words
      .replace(/^-+|-+$/g, '')
      .slice(0, 48)
      .replace(/-+$/, '') || 'picture'
  )
}

/** Names the files of a run. */
export interface OutputPaths {
  /** Path of the picture with this place in the run and this seed. */
  picture(index: number, seed: number | bigint | undefined): string
  /** Path of the grid of all pictures. */
  grid(): string
  /** Path of a preview. */
  preview(index: number, step: number): string
}

/**
 * Where to write: `out` may be a file, a folder (existing, or with a closing slash) or nothing. Throws `UsageError` for an extension that
 * is none of `extensions`, of which the first is used where none is given.
 */
export async function outputPaths(
  out: string | undefined,
  prompt: string,
  count: number,
  extensions: readonly string[] = pictureExtensions,
): Promise<OutputPaths> {
  const folder = out === undefined ? 'out' : await asFolder(out)
  if (folder !== undefined) {
    const name = slug(prompt)
    const path = (suffix: string, extension = '.png'): string => resolve(join(folder, `${name}${suffix}${extension}`))
    return {
      picture: (index, seed) => path(`-${seed ?? index}`, extensions[0]),
      grid: () => path('-grid'),
      preview: (index, step) => path(`-${index + 1}-step-${String(step).padStart(3, '0')}`),
    }
  }
  const { dir, name, ext } = parse(resolve(out as string))
  if (!extensions.includes(ext.toLowerCase())) {
    throw new UsageError(`Expected a path that ends in ${extensions.join(', ')} or / for --out but received ${JSON.stringify(out)}`)
  }
  const path = (suffix: string): string => join(dir, `${name}${suffix}${ext}`)
  return {
    picture: (index) => path(count === 1 ? '' : `-${index + 1}`),
    grid: () => path('-grid'),
    preview: (index, step) => path(`-${index + 1}-step-${String(step).padStart(3, '0')}`),
  }
}

async function asFolder(out: string): Promise<string | undefined> {
  if (out === '') {
    throw new UsageError('Expected a path for --out but received ""')
  }
  const isFolder = out.endsWith('/') || out.endsWith(sep) || (await stat(out).catch(() => undefined))?.isDirectory() || extname(out) === ''
  return isFolder ? out : undefined
}
