import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { checkString } from '../checks.ts'
import { expected } from '../errors.ts'
import type { Wanted } from '../hub/choose-files.ts'
import { type DownloadRun, isRepositoryId, Repository } from '../hub/repository.ts'
import type { HubOptions } from '../hub/settings.ts'
import { packageRoot } from '../native.ts'

/** A model's files: a folder, or a repository of the hub that is asked for what is wanted of it. */
export interface ModelSource {
  /** The folder that holds at least what is wanted. */
  fetch(wanted: Wanted): Promise<string>
  /** Names of the files in one of its folders, '' for the root; none if there is no such folder. */
  list(folder: string): Promise<string[]>
}

/** Folders of the models that ship with the package, by their id. */
const BUILT_IN: Readonly<Record<string, string>> = { shapes: join(packageRoot, 'models', 'shapes') }

/**
 * Finds a model: an existing folder, the id of a built-in model (`shapes`), or an id of the hub (`org/name`).
 *
 * Nothing is downloaded yet. Throws `InvalidArgumentError` for anything else.
 */
export async function openSource(dir: string, options: HubOptions & DownloadRun = {}): Promise<ModelSource> {
  const folder = await localFolder(dir)
  if (folder !== undefined) {
    return { fetch: async () => folder, list: (inside) => namesIn(join(folder, inside)) }
  }
  if (!isRepositoryId(dir)) {
    throw expected(
      `an existing folder, the id of a built-in model (${Object.keys(BUILT_IN).join(', ')}) or 'org/name' of the hub`,
      'dir',
      dir,
    )
  }
  return Repository.open(dir, options, { signal: options.signal, onProgress: harmless(options.onProgress) })
}

async function namesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name)
}

/** The folder of a model that needs no network; undefined if there is none of that name. */
export async function localFolder(dir: string): Promise<string | undefined> {
  checkString('dir', dir)
  const entry = await stat(dir === '' ? '.' : dir).catch(() => undefined)
  return dir !== '' && entry?.isDirectory() ? dir : BUILT_IN[dir]
}

/** The same listener, whose errors become one warning instead of stopping the work. */
export function harmless<E>(listener: ((event: E) => void) | undefined): ((event: E) => void) | undefined {
  let warned = false
  return (
    listener &&
    ((event) => {
      try {
        listener(event)
      } catch (error) {
        if (!warned) {
          process.emitWarning(`An onProgress listener threw: ${String(error)}`, 'NodeDiffusionWarning')
        }
        warned = true
      }
    })
  )
}
