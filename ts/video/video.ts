import { randomBytes } from 'node:crypto'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, extname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Sharp } from 'sharp'
import { checkBoolean, checkInteger, checkNumber, checkOptions } from '../checks.ts'
import { DiffusionError, expected, InvalidArgumentError } from '../errors.ts'
import { codec } from '../image/codec.ts'
import { Image } from '../image/image.ts'
import { animatedPng } from './apng.ts'
import { writeMp4 } from './mp4.ts'

/** Options of {@link Video.save} and of the encoders. */
export type SaveVideoOptions = {
  /** Frames per second, in place of the video's own. */
  fps?: number
  /** How often it plays; 0 for ever. GIF, WebP and APNG only. @default 0 */
  loop?: number
  /** 1 to 100, WebP only. @default 92 */
  quality?: number
  /** WebP only: keep every pixel. @default false */
  lossless?: boolean
  /** MP4 only: 0 (everything kept) to 51. @default 18 */
  crf?: number
  /** MP4 only: the program. @default 'ffmpeg' on the PATH */
  ffmpeg?: string
}

const extensions = ['.gif', '.webp', '.png', '.apng', '.mp4']

/** A finished video: pictures of one size. */
export class Video {
  /** The pictures, in order. */
  readonly frames: readonly [Image, ...Image[]]
  /** Frames per second. */
  readonly fps: number

  constructor({ frames, fps = 8 }: { frames: readonly Image[]; fps?: number }) {
    const [first, ...others] = Array.isArray(frames) ? (frames as readonly Image[]) : []
    if (
      !(first instanceof Image) ||
      !others.every((frame) => frame instanceof Image && frame.width === first.width && frame.height === first.height)
    ) {
      throw expected('a non-empty array of Images of one size', 'frames', frames)
    }
    this.frames = [first, ...others]
    this.fps = checkNumber('fps', fps, { min: 0.1, max: 240 })
  }

  /** Pixels from left to right. */
  get width(): number {
    return this.frames[0].width
  }

  /** Pixels from top to bottom. */
  get height(): number {
    return this.frames[0].height
  }

  /** Encodes as animated GIF: 256 colours. */
  async gif(options?: SaveVideoOptions): Promise<Buffer> {
    const { delay, loop } = this.#check(options)
    return this.#stacked().gif({ delay, loop }).toBuffer()
  }

  /** Encodes as animated WebP. */
  async webp(options?: SaveVideoOptions): Promise<Buffer> {
    const { delay, loop, quality, lossless } = this.#check(options)
    return this.#stacked().webp({ delay, loop, quality, lossless }).toBuffer()
  }

  /** Encodes as animated PNG: every pixel is kept; the first frame carries the metadata. */
  async apng(options?: SaveVideoOptions): Promise<Buffer> {
    const { delay, loop } = this.#check(options)
    const files = await Promise.all(this.frames.map((frame, i) => frame.png({ metadata: i === 0 })))
    return animatedPng(files, { delayMs: delay[0] ?? 125, loop })
  }

  /**
   * Writes the video to a file and resolves to its absolute path; the extension says the format: .gif, .webp, .png or .apng, .mp4.
   *
   * MP4 needs the program ffmpeg; throws `ConfigError` without it. Folders are made; the file appears whole or not at all.
   */
  async save(path: string | URL, options?: SaveVideoOptions): Promise<string> {
    if (!(typeof path === 'string' || path instanceof URL) || String(path) === '') {
      throw expected('a path', 'path', path)
    }
    const target = resolve(path instanceof URL || path.startsWith('file:') ? fileURLToPath(path) : path)
    const extension = extname(target).toLowerCase()
    if (!extensions.includes(extension)) {
      throw expected(`a path that ends in ${extensions.join(', ')}`, 'path', String(path))
    }
    const { fps, crf, ffmpeg } = this.#check(options)
    const temporary = `${target}.${randomBytes(6).toString('hex')}.tmp`
    try {
      await mkdir(dirname(target), { recursive: true })
      if (extension === '.mp4') {
        await writeMp4(this.frames, temporary, { fps, crf, ffmpeg })
      } else {
        await writeFile(
          temporary,
          await (extension === '.gif' ? this.gif(options) : extension === '.webp' ? this.webp(options) : this.apng(options)),
        )
      }
      await rename(temporary, target)
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => {})
      if (cause instanceof DiffusionError) {
        throw cause
      }
      const message = cause instanceof Error ? cause.message : String(cause)
      throw new InvalidArgumentError(`Expected a path that can be written for path but received ${JSON.stringify(target)}: ${message}`, {
        cause,
      })
    }
    return target
  }

  #check(options: SaveVideoOptions | undefined): Required<SaveVideoOptions> & { delay: number[] } {
    const { fps = this.fps, loop = 0, quality = 92, lossless = false, crf = 18, ffmpeg = 'ffmpeg' } = checkOptions('options', options)
    checkNumber('fps', fps, { min: 0.1, max: 240 })
    checkInteger('loop', loop, { min: 0, max: 65535 })
    checkInteger('quality', quality, { min: 1, max: 100 })
    checkBoolean('lossless', lossless)
    checkInteger('crf', crf, { min: 0, max: 51 })
    return { fps, loop, quality, lossless, crf, ffmpeg, delay: this.frames.map(() => Math.round(1000 / fps)) }
  }

  /** All frames below each other, as sharp takes an animation. */
  #stacked(): Sharp {
    const { width, height, frames } = this
    const raw = { width, height: height * frames.length, channels: 3 as const, pageHeight: height }
    return codec()(Buffer.concat(frames.map(({ data }) => data)), { raw })
  }
}
