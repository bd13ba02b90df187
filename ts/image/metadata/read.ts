import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expected, InvalidArgumentError } from '../../errors.ts'
import { extractMetadata, type ImageMetadata } from './embed.ts'
import { type GenerationParameters, parseParametersText } from './parameters.ts'

/**
 * Reads the generation parameters and other texts of an image file (PNG, JPEG or WebP).
 *
 * Throws `InvalidArgumentError` for a missing file or another format.
 */
export async function readMetadata(file: string | URL | Uint8Array): Promise<ImageMetadata> {
  if (file instanceof Uint8Array) {
    return extractMetadata(file)
  }
  if (typeof file !== 'string' && !(file instanceof URL)) {
    throw expected('a path or the bytes of an image', 'file', file)
  }
  const path = file instanceof URL || file.startsWith('file:') ? fileURLToPath(file) : file
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new InvalidArgumentError(`Expected an existing image file for file but received ${describe(path)}`, { cause })
  })
  return extractMetadata(bytes)
}

/**
 * What a picture was made with, from an image file (path, URL, bytes) or from the web UI's text itself.
 *
 * Our own JSON wins over the text, which knows fewer options. A string with a line break or `Steps:` is text, any other a path.
 * Throws `InvalidArgumentError` if the file has neither.
 */
export async function parseParameters(source: string | URL | Uint8Array): Promise<GenerationParameters> {
  if (typeof source === 'string' && (/\n/.test(source) || /\bSteps: \d/.test(source))) {
    return parseParametersText(source)
  }
  const { json, parameters } = await readMetadata(source)
  if (json !== undefined) {
    return json
  }
  if (parameters === undefined) {
    throw expected('an image that says what it was made with', 'source', source)
  }
  return parseParametersText(parameters)
}
