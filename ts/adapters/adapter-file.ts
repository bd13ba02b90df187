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
 * `names` are tried in order where `weightName` is not given. Throws `InvalidArgumentError` if there is no such file, `HubError` from the hub.
 */
export async function findAdapterFile(source: string, names: readonly string[], options: AdapterFileOptions): Promise<string> {
  const { weightName, subfolder = '', ...hub } = options
  checkString('source', source)
  checkString('subfolder', subfolder)
  const wanted = weightName === undefined ? names : [checkString('weightName', weightName)]
  const local = join(source, subfolder)
  const entry = source === '' ? undefined : await stat(local).catch(() => undefined)
  if (entry !== undefined && !entry.isDirectory()) {
    return local
  }
  let folder = local
  if (entry === undefined) {
    if (!isRepositoryId(source) || WEIGHTS.test(source)) {
      throw expected("an existing file or folder, or 'org/name' of the hub", 'source', local)
    }
    const repository = await openSource(source, hub)
    folder = join(await repository.fetch({ folders: [], files: wanted.map((name) => posix.join(subfolder, name)) }), subfolder)
  }
  for (const name of wanted) {
    if ((await stat(join(folder, name)).catch(() => undefined))?.isFile()) {
      return join(folder, name)
    }
  }
  throw expected(`a folder with ${wanted.join(' or ')} (else the option weightName)`, 'source', folder)
}
