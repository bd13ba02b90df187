import { stat } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { Sharp, SharpOptions } from 'sharp'
import { throwIfAborted } from '../abort.ts'
import { checkInteger, checkOptions } from '../checks.ts'
import { AbortError, describe, expected, InvalidArgumentError } from '../errors.ts'
import { codec } from './codec.ts'
import { Image } from './image.ts'
import { type RgbaImage, toRgba } from './pixels.ts'

/** Uncompressed pixels: `channels` (1 grey, 3 RGB, 4 RGBA) is worked out from the length if it is left out; an `ImageData` fits as it is. */
export type RawImage = { data: Uint8Array | Uint8ClampedArray; width: number; height: number; channels?: 1 | 3 | 4 }

/** A picture in any form: path, file, http(s) or data URL, encoded bytes, Blob, sharp instance, raw pixels, or an image of this package. */
export type ImageInput = string | URL | Uint8Array | ArrayBuffer | Blob | Sharp | RawImage | RgbaImage | Image

/** Options of {@link loadImage}. */
export type LoadImageOptions = {
  /** Name of the argument in error messages. @default 'image' */
  name?: string
  /** Stops a download. */
  signal?: AbortSignal
  /** Most pixels (width x height) that are decoded. @default 268402689, that is 16383 x 16383 */
  maxPixels?: number
  /** Most bytes of a file or a download. @default 268435456, that is 256 MiB */
  maxBytes?: number
}

const defaults = { maxPixels: 16383 * 16383, maxBytes: 256 * 1024 * 1024 }

type Limits = { name: string; maxPixels: number; maxBytes: number; signal: AbortSignal | undefined }

/**
 * Decodes a picture to RGBA, turned upright by its EXIF orientation and converted to sRGB.
 *
 * Reads what sharp reads: PNG, JPEG, WebP, AVIF, GIF (first frame), TIFF, SVG. Throws `InvalidArgumentError` for a missing, damaged or too large
 * file and for a wrong type, and `AbortError` when `signal` aborts.
 */
export async function loadImage(input: ImageInput, options: LoadImageOptions = {}): Promise<RgbaImage> {
  const { name = 'image', signal, ...rest } = checkOptions('options', options)
  const limits: Limits = {
    name,
    signal,
    maxPixels: checkInteger('maxPixels', rest.maxPixels ?? defaults.maxPixels, { min: 1 }),
    maxBytes: checkInteger('maxBytes', rest.maxBytes ?? defaults.maxBytes, { min: 1 }),
  }
  throwIfAborted(signal)
  if (input instanceof Image) {
    return input.rgba()
  }
  if (typeof input === 'string' || input instanceof URL) {
    return loadLocation(String(input), limits)
  }
  if (input instanceof Uint8Array || input instanceof ArrayBuffer) {
    return decode(input instanceof ArrayBuffer ? new Uint8Array(input) : input, `${input.byteLength} bytes`, limits)
  }
  if (input instanceof Blob) {
    return decode(new Uint8Array(await input.arrayBuffer()), `a Blob of ${input.size} bytes`, limits)
  }
  if (isSharp(input)) {
    return render(input.clone(), 'a sharp instance', limits)
  }
  if (typeof input === 'object' && input !== null && 'data' in input) {
    return fromRaw(input, name)
  }
  throw expected('a path, URL, Buffer, ArrayBuffer, Blob, sharp instance, raw pixels or Image', name, input)
}

function isSharp(value: unknown): value is Sharp {
  return typeof value === 'object' && value !== null && 'toBuffer' in value && 'metadata' in value && 'clone' in value
}

function fromRaw(input: RawImage | RgbaImage, name: string): RgbaImage {
  const { data, width, height } = input
  checkInteger(`${name}.width`, width, { min: 1, max: 65536 })
  checkInteger(`${name}.height`, height, { min: 1, max: 65536 })
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray)) {
    throw expected('a Uint8Array or Uint8ClampedArray', `${name}.data`, data)
  }
  const channels = 'channels' in input && input.channels !== undefined ? input.channels : data.length / (width * height)
  if ((channels !== 1 && channels !== 3 && channels !== 4) || data.length !== width * height * channels) {
    throw expected(`${width} x ${height} pixels of 1, 3 or 4 channels`, `${name}.data`, data)
  }
  if ('hasAlpha' in input) {
    return input
  }
  return toRgba({ width, height, channels, data: new Uint8Array(data.buffer, data.byteOffset, data.length) })
}

async function loadLocation(location: string, limits: Limits): Promise<RgbaImage> {
  const shown = describe(location)
  if (/^https?:/i.test(location)) {
    return decode(await download(location, limits), shown, limits)
  }
  if (/^data:/i.test(location)) {
    return decode(decodeDataUrl(location, limits.name), shown, limits)
  }
  const path = /^file:/i.test(location) ? fileURLToPath(location) : location
  const found = await stat(path).catch((cause: unknown) => {
    throw new InvalidArgumentError(`Expected an existing image file for ${limits.name} but received ${shown}`, { cause })
  })
  if (!found.isFile() || found.size === 0 || found.size > limits.maxBytes) {
    const problem = !found.isFile() ? 'is a folder' : found.size === 0 ? 'is empty' : `has ${found.size} bytes`
    throw new InvalidArgumentError(
      `Expected an image file of 1 to ${limits.maxBytes} bytes for ${limits.name} but received ${shown}, which ${problem}`,
    )
  }
  return decode(path, shown, limits)
}

function decodeDataUrl(url: string, name: string): Uint8Array {
  const parts = /^data:([^,]*),(.*)$/is.exec(url)
  if (parts === null) {
    throw expected('a data URL with a comma', name, url)
  }
  const [, header = '', body = ''] = parts
  return /;base64$/i.test(header) ? Buffer.from(decodeURIComponent(body), 'base64') : Buffer.from(decodeURIComponent(body), 'utf8')
}

async function download(url: string, { name, signal, maxBytes }: Limits): Promise<Uint8Array> {
  try {
    const response = await fetch(url, signal === undefined ? {} : { signal })
    if (!response.ok || response.body === null) {
      throw new Error(`the server answered ${response.status} ${response.statusText}`)
    }
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of response.body) {
      size += chunk.byteLength
      if (size > maxBytes) {
        throw new Error(`it is larger than ${maxBytes} bytes`)
      }
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } catch (cause) {
    if (signal?.aborted) {
      throw new AbortError(signal.reason)
    }
    throw new InvalidArgumentError(`Expected an image that can be downloaded for ${name} but received ${describe(url)}: ${reason(cause)}`, {
      cause,
    })
  }
}

function decode(input: Uint8Array | string, shown: string, limits: Limits): Promise<RgbaImage> {
  const options: SharpOptions = { limitInputPixels: limits.maxPixels, failOn: 'error' }
  return render(codec()(input, options), shown, limits)
}

async function render(image: Sharp, shown: string, { name, maxPixels }: Limits): Promise<RgbaImage> {
  try {
    const { hasAlpha } = await image.metadata()
    const { data, info } = await image
      .autoOrient()
      .toColourspace('srgb')
      .ensureAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, data: new Uint8ClampedArray(data.buffer, data.byteOffset, data.length), hasAlpha }
  } catch (cause) {
    const sentence = `Expected an image of at most ${maxPixels} pixels that can be read (PNG, JPEG, WebP, AVIF, GIF, TIFF, SVG) for ${name}`
    throw new InvalidArgumentError(`${sentence} but received ${shown}: ${reason(cause)}`, { cause })
  }
}

function reason(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return inner instanceof Error ? (inner.message.split('\n')[0] ?? inner.name) : String(inner)
}
