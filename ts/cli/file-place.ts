import { stat } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { isRepositoryId } from '../hub/repository.ts'
import { openSource } from '../models/source.ts'
import { UsageError } from './exit.ts'
import { isModelFile } from './load-model.ts'

/** Where an adapter's file is, as the loaders take it. */
export interface FilePlace {
  source: string
  subfolder?: string
  weightName?: string
  /** The file's name without folder and extension. */
  name: string
}

/** Throws `UsageError` that names the flag unless the text is a file, a folder or an id of the hub. */
export async function checkModel(text: string, flag: string): Promise<void> {
  if (await isModelFile(text)) {
    return
  }
  await openSource(text).catch((error: unknown) => {
    const message = error instanceof Error ? error.message : String(error)
    throw new UsageError(message.replace('an existing folder,', 'an existing folder or file,').replace(' for dir but', ` for ${flag} but`))
  })
}

const WEIGHTS = /\.(safetensors|bin|pt|pth|ckpt)$/

/** The place of a file, a folder, or `org/name` of the hub with the path of a file behind it. Throws `UsageError` that names the flag. */
export async function filePlace(text: string, flag: string): Promise<FilePlace> {
  const name = basename(text).replace(WEIGHTS, '')
  const entry = text === '' ? undefined : await stat(text).catch(() => undefined)
  if (entry !== undefined) {
    return entry.isDirectory() ? { source: text, name } : { source: dirname(text), weightName: basename(text), name }
  }
  const [organisation = '', repository = '', ...inside] = text.split('/')
  const source = `${organisation}/${repository}`
  const last = inside.at(-1)
  if (!isRepositoryId(source) || WEIGHTS.test(repository) || (last !== undefined && !WEIGHTS.test(last))) {
    throw new UsageError(
      `Expected an existing file or folder, or org/name/FILE of the hub, for ${flag} but received ${JSON.stringify(text)}`,
    )
  }
  const subfolder = inside.slice(0, -1).join('/')
  return { source, name, ...(last !== undefined && { weightName: last }), ...(subfolder !== '' && { subfolder }) }
}
