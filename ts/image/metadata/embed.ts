import { expected } from '../../errors.ts'
import { readExif, writeExif } from './exif.ts'
import { longestSegment, readJpegExif, writeJpegExif } from './jpeg.ts'
import { formatParameters, type GenerationParameters } from './parameters.ts'
import { pngSignature, readPngText, writePngText } from './png.ts'
import { readWebpExif, writeWebpExif } from './webp.ts'

/** The PNG key under which AUTOMATIC1111's web UI keeps its text. */
export const parametersKey = 'parameters'

/** The PNG key under which this package keeps its JSON. */
export const jsonKey = 'node-diffusion'

/** The texts of an image file: the web UI's `parameters`, this package's `json`, and for PNG every other text by its key. */
export type ImageMetadata = { parameters?: string; json?: GenerationParameters; texts: Record<string, string> }

type Container = 'png' | 'jpeg' | 'webp'

function container(file: Buffer): Container | undefined {
  if (file.subarray(0, 8).equals(pngSignature)) {
    return 'png'
  }
  if (file[0] === 0xff && file[1] === 0xd8) {
    return 'jpeg'
  }
  return file.toString('latin1', 0, 4) === 'RIFF' && file.toString('latin1', 8, 12) === 'WEBP' ? 'webp' : undefined
}

function toJson(parameters: GenerationParameters): string {
  const plain = (_: string, value: unknown): unknown => {
    if (typeof value === 'bigint') {
      return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
    }
    return ArrayBuffer.isView(value) || typeof value === 'function' ? undefined : value
  }
  return JSON.stringify(parameters, plain)
}

/**
 * Writes what a picture was made with into its encoded file: the web UI's text and all of it as JSON.
 *
 * PNG: text chunks `parameters` and `node-diffusion`. JPEG and WebP: EXIF UserComment and ImageDescription; JSON that does not fit
 * into a JPEG's 64 KiB is left out. Throws `InvalidArgumentError` for other formats.
 */
export function embedMetadata(file: Buffer, parameters: GenerationParameters): Buffer {
  const comment = formatParameters(parameters)
  const json = toJson(parameters)
  const kind = container(file)
  if (kind === 'png') {
    return writePngText(file, { [parametersKey]: comment, [jsonKey]: json })
  }
  const description = json.replace(/[\u007f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
  if (kind === 'webp') {
    return writeWebpExif(file, writeExif({ comment, description }))
  }
  if (kind === 'jpeg') {
    const fitting = [{ comment, description }, { comment }].map(writeExif).find(({ length }) => length <= longestSegment)
    return fitting === undefined ? file : writeJpegExif(file, fitting)
  }
  throw expected('a PNG, JPEG or WebP file', 'file', file)
}

function fromJson(text: string | undefined): GenerationParameters | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as GenerationParameters) : undefined
  } catch {
    return undefined
  }
}

/** Reads the texts of an encoded image file; a file without any has none. Throws `InvalidArgumentError` if it is not PNG, JPEG or WebP. */
export function extractMetadata(file: Uint8Array): ImageMetadata {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength)
  const kind = container(bytes)
  if (kind === undefined) {
    throw expected('a PNG, JPEG or WebP file', 'file', file)
  }
  if (kind === 'png') {
    const texts = readPngText(bytes)
    return gather(texts[parametersKey], texts[jsonKey], texts)
  }
  const tiff = kind === 'jpeg' ? readJpegExif(bytes) : readWebpExif(bytes)
  const { comment, description } = tiff === undefined ? {} : readExif(tiff)
  return gather(comment, description, {})
}

function gather(parameters: string | undefined, jsonText: string | undefined, texts: Record<string, string>): ImageMetadata {
  const json = fromJson(jsonText)
  return { ...(parameters === undefined ? {} : { parameters }), ...(json === undefined ? {} : { json }), texts }
}
