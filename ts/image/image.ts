import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, extname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Sharp } from 'sharp'
import { checkBoolean, checkInteger, checkOptions } from '../checks.ts'
import { expected, InvalidArgumentError } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import { codec } from './codec.ts'
import { embedMetadata } from './metadata/embed.ts'
import type { GenerationParameters } from './metadata/parameters.ts'
import { type Pixels, type RgbaImage, toRgba } from './pixels.ts'

/** What an {@link Image} is made of; `data` is RGB, three bytes a pixel, rows from top to bottom. */
export type ImageInit = {
  width: number
  height: number
  data: Uint8Array | Uint8ClampedArray
  /** The seed of this very picture. */
  seed?: number | bigint
  /** Everything that it was made with. */
  parameters?: GenerationParameters
}

/** Options of {@link Image.save} and of the encoders. */
export type SaveOptions = {
  /** 1 to 100, JPEG and WebP only. @default 92 */
  quality?: number
  /** WebP only: keep every pixel. @default false */
  lossless?: boolean
  /** Write seed and parameters into the file. @default true */
  metadata?: boolean
}

type Format = 'png' | 'jpeg' | 'webp'

const formats: Record<string, Format> = { '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp' }

/** A finished picture: RGB pixels with the seed and the parameters that made it. */
export class Image {
  /** Pixels from left to right. */
  readonly width: number
  /** Pixels from top to bottom. */
  readonly height: number
  /** RGB, three bytes a pixel, rows from top to bottom. */
  readonly data: Uint8Array
  /** The seed of this very picture, also in a batch. */
  readonly seed: number | bigint | undefined
  /** Everything that the picture was made with; written into files by `save` and the encoders. */
  readonly parameters: GenerationParameters | undefined

  constructor({ width, height, data, seed, parameters }: ImageInit) {
    this.width = checkInteger('width', width, { min: 1, max: 65536 })
    this.height = checkInteger('height', height, { min: 1, max: 65536 })
    if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray) || data.length !== width * height * 3) {
      throw expected(`${width * height * 3} bytes of RGB`, 'data', data)
    }
    this.data = data instanceof Uint8Array ? data : new Uint8Array(data.buffer, data.byteOffset, data.length)
    this.seed = seed
    this.parameters = parameters
  }

  /**
   * Makes a picture of a tensor of shape (3, H, W), (1, 3, H, W), (1, H, W) or (1, 1, H, W) with values from 0 to 1; others are clamped.
   *
   * For what a VAE gives (-1 to 1, a batch) see `toImages`.
   */
  static fromTensor(tensor: Tensor, { seed, parameters }: Pick<ImageInit, 'seed' | 'parameters'> = {}): Image {
    if (!(tensor instanceof Tensor)) {
      throw expected('a Tensor', 'tensor', tensor)
    }
    const [channels, height, width] = tensor.shape.length === 4 && tensor.shape[0] === 1 ? tensor.shape.slice(1) : tensor.shape
    if ((channels !== 1 && channels !== 3) || height === undefined || width === undefined) {
      throw expected('a Tensor of shape (3, H, W) or (1, 3, H, W)', 'tensor', tensor)
    }
    const values = tensor.to('f32').toArray() as Float32Array
    const data = interleave(values, channels, width * height, (value) => value * 255)
    return new Image({ width, height, data, ...(seed === undefined ? {} : { seed }), ...(parameters === undefined ? {} : { parameters }) })
  }

  /** The pixels as a tensor of shape (3, H, W), f32, 0 to 1. */
  toTensor(): Tensor {
    const plane = this.width * this.height
    const values = new Float32Array(plane * 3)
    for (let i = 0; i < plane; i += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        values[channel * plane + i] = (this.data[i * 3 + channel] ?? 0) / 255
      }
    }
    return Tensor.from(values, [3, this.height, this.width])
  }

  /** The pixels with an opaque alpha channel, as a canvas wants them. */
  rgba(): RgbaImage {
    return toRgba(this.pixels())
  }

  /** The pixels as this package's processors take them; shares the memory. */
  pixels(): Pixels {
    return { width: this.width, height: this.height, channels: 3, data: this.data }
  }

  /** A sharp instance over the pixels, for any other operation or format. */
  toSharp(): Sharp {
    return codec()(this.data, { raw: { width: this.width, height: this.height, channels: 3 } })
  }

  /** Encodes as PNG. */
  png(options?: SaveOptions): Promise<Buffer> {
    return this.#encode('png', options)
  }

  /** Encodes as JPEG, by default with quality 92 and full colour resolution. */
  jpeg(options?: SaveOptions): Promise<Buffer> {
    return this.#encode('jpeg', options)
  }

  /** Encodes as WebP, by default with quality 92. */
  webp(options?: SaveOptions): Promise<Buffer> {
    return this.#encode('webp', options)
  }

  /** The PNG file as a `data:` URL. */
  async toDataURL(options?: SaveOptions): Promise<string> {
    return `data:image/png;base64,${(await this.png(options)).toString('base64')}`
  }

  /**
   * Writes the picture to a file and resolves to its absolute path; the extension (.png, .jpg, .jpeg, .webp) says the format.
   *
   * Folders are made; the file appears whole or not at all (a temporary name, then a rename).
   */
  async save(path: string | URL, options?: SaveOptions): Promise<string> {
    if (!(typeof path === 'string' || path instanceof URL) || String(path) === '') {
      throw expected('a path', 'path', path)
    }
    const target = resolve(path instanceof URL || path.startsWith('file:') ? fileURLToPath(path) : path)
    const format = formats[extname(target).toLowerCase()]
    if (format === undefined) {
      throw expected(`a path that ends in ${Object.keys(formats).join(', ')}`, 'path', String(path))
    }
    const bytes = await this.#encode(format, options)
    const temporary = `${target}.${randomBytes(6).toString('hex')}.tmp`
    try {
      await mkdir(dirname(target), { recursive: true })
      await writeFile(temporary, bytes)
      await rename(temporary, target)
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => {})
      const message = cause instanceof Error ? cause.message : String(cause)
      throw new InvalidArgumentError(`Expected a path that can be written for path but received ${JSON.stringify(target)}: ${message}`, {
        cause,
      })
    }
    return target
  }

  async #encode(format: Format, options?: SaveOptions): Promise<Buffer> {
    const { quality = 92, lossless = false, metadata = true } = checkOptions('options', options)
    checkInteger('quality', quality, { min: 1, max: 100 })
    checkBoolean('lossless', lossless)
    checkBoolean('metadata', metadata)
    const image = this.toSharp()
    const encoded =
      format === 'png'
        ? image.png()
        : format === 'jpeg'
          ? image.jpeg({ quality, chromaSubsampling: '4:4:4' })
          : image.webp({ quality, lossless })
    const bytes = await encoded.toBuffer()
    return metadata && this.parameters !== undefined
      ? embedMetadata(bytes, { ...this.parameters, ...(this.seed === undefined ? {} : { seed: this.seed }) })
      : bytes
  }
}

/**
 * Turns planes of numbers into RGB bytes, rounding half to even and clamping as numpy and diffusers do; one plane becomes grey.
 *
 * `scale` maps a value to 0..255; `from` is where the first plane starts.
 */
export function interleave(values: Float32Array, channels: number, plane: number, scale: (value: number) => number, from = 0): Uint8Array {
  const data = new Uint8ClampedArray(plane * 3) // its conversion rounds half to even
  for (let channel = 0; channel < 3; channel += 1) {
    const start = from + (channels === 1 ? 0 : channel) * plane
    for (let i = 0; i < plane; i += 1) {
      data[i * 3 + channel] = scale(values[start + i] ?? 0)
    }
  }
  return new Uint8Array(data.buffer)
}
