import { stat } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { checkString } from '../checks.ts'
import { expected } from '../errors.ts'
import { isRepositoryId } from '../hub/repository.ts'
import type { HubOptions } from '../hub/settings.ts'
import { openSource } from '../models/source.ts'

/** Where an adapter's file is. */
export interface AdapterFileOptions extends HubOptions {
  /** Name of the file inside the folder. @default the names that diffusers gives such files */
  weightName?: string
  /** Folder inside the folder. */
  subfolder?: string
  /** Stops the download and the reading. */
  signal?: AbortSignal
}

const WEIGHTS = /\.(safetensors|pt|bin|ckpt)$/

/**
 * The path of an adapter: a file, a file in a folder, or one of a repository of the hub (`org/name`), downloaded.
 *
 * Without `weightName` it is the first of `names` that is there, else the only weights file. Throws `InvalidArgumentError` if there is no such file,
 * `HubError` from the hub.
 */
export async function findAdapterFile(source: string, names: readonly string[], options: AdapterFileOptions): Promise<string> {
  const { weightName, subfolder = '', ...hub } = options
  checkString('source', source)
  checkString('subfolder', subfolder)
  const local = join(source, subfolder)
  const entry = source === '' ? undefined : await stat(local).catch(() => undefined)
  if (entry !== undefined && !entry.isDirectory()) {
    return local
  }
  if (entry === undefined && (!isRepositoryId(source) || WEIGHTS.test(source))) {
    throw expected("an existing file or folder, or 'org/name' of the hub", 'source', local)
  }
  const place = await openSource(source, hub)
  if (weightName !== undefined) {
    const file = posix.join(subfolder, checkString('weightName', weightName))
    const path = join(await place.fetch({ folders: [], files: [file] }), file)
    if (!(await stat(path).catch(() => undefined))?.isFile()) {
      throw expected(`a folder with ${weightName}`, 'source', local)
    }
    return path
  }
  const name = choose(await place.list(subfolder), names, local)
  return join(await place.fetch({ folders: [], files: [posix.join(subfolder, name)] }), subfolder, name)
}

/** The first of the wanted names, else the only weights file; a safetensors file wins over the pickles beside it. */
function choose(present: readonly string[], names: readonly string[], folder: string): string {
  const known = names.find((name) => present.includes(name))
  const safe = present.filter((name) => name.endsWith('.safetensors'))
  const others = safe.length > 0 ? safe : present.filter((name) => WEIGHTS.test(name))
  const only = others.length === 1 ? others[0] : undefined
  const found = known ?? only
  if (found === undefined) {
    throw others.length > 1
      ? expected(`one of ${others.join(', ')}`, 'weightName', undefined)
      : expected('a folder with the weights of an adapter', 'source', folder)
  }
  return found
}
