import { checkNumber, checkOptions } from '../checks.ts'
import { gaussianBlur } from '../image/blur.ts'
import { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import { resize } from '../image/resample.ts'
import { type PreprocessorOptions, readRgb } from './input.ts'

/** Options of {@link blur}. */
export interface BlurOptions extends PreprocessorOptions {
  /** Radius of the Gaussian in pixels. @default 9 */
  radius?: number
}

/** Options of {@link tile}. */
export interface TileOptions extends PreprocessorOptions {
  /** How many times smaller the picture is made before it gets its size back; 1 leaves it as it is. @default 1 */
  downSampling?: number
}

/** A blurred picture, for ControlNets that restore detail. Pillow's `GaussianBlur`. */
export async function blur(image: ImageInput, options?: BlurOptions): Promise<Image> {
  const { radius = 9, ...rest } = checkOptions('options', options)
  checkNumber('radius', radius, { min: 0, max: 1000 })
  return new Image(await gaussianBlur(await readRgb(image, rest), radius))
}

/** The picture with detail taken away by shrinking, for ControlNet Tile: averaged areas down, Lanczos up. */
export async function tile(image: ImageInput, options?: TileOptions): Promise<Image> {
  const { downSampling = 1, ...rest } = checkOptions('options', options)
  checkNumber('downSampling', downSampling, { min: 1, max: 64 })
  const pixels = await readRgb(image, rest)
  const { width, height } = pixels
  const small = await resize(pixels, shrunk(width, downSampling), shrunk(height, downSampling), 'box')
  return new Image(await resize(small, width, height, 'lanczos'))
}

/** The negative of a picture: dark strokes on white paper become what ControlNet Scribble and Lineart expect. */
export async function invert(image: ImageInput, options?: PreprocessorOptions): Promise<Image> {
  const pixels = await readRgb(image, options)
  return new Image({ ...pixels, data: pixels.data.map((value) => 255 - value) })
}

function shrunk(size: number, factor: number): number {
  return Math.max(1, Math.round(size / factor))
}
