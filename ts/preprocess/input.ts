import { checkInteger, checkOptions } from '../checks.ts'
import { Image } from '../image/image.ts'
import { type ImageInput, loadImage } from '../image/load-image.ts'
import { blank, greyToRgb, type Pixels, rgbaToRgb, toGrey } from '../image/pixels.ts'
import { eachRow } from '../image/slices.ts'
import { resizeArea, resizeLanczos4 } from './opencv-resize.ts'

/** What every preprocessor takes. */
export interface PreprocessorOptions {
  /** Bring the shorter side to this many pixels first, both sides to multiples of 64, as controlnet_aux does. @default the picture's own size */
  detectResolution?: number
  /** Stops a download. */
  signal?: AbortSignal
}

/** Reads a picture as RGB, transparency laid on white, at the size that the options ask for. Source: controlnet_aux util.py `HWC3`, `resize_image`. */
export async function readRgb(image: ImageInput, options: PreprocessorOptions | undefined): Promise<Pixels> {
  const { detectResolution, signal } = checkOptions('options', options)
  if (detectResolution !== undefined) {
    checkInteger('detectResolution', detectResolution, { min: 64, max: 16384 })
  }
  const { width, height, data, hasAlpha } = await loadImage(image, { signal })
  const pixels = await (hasAlpha ? onWhite({ width, height, channels: 4, data: new Uint8Array(data) }) : rgbaToRgb({ width, height, data }))
  return detectResolution === undefined ? pixels : toResolution(pixels, detectResolution)
}

/** Reads a mask as one grey channel. */
export async function readMask(mask: ImageInput, name = 'mask'): Promise<Pixels> {
  return toGrey(await rgbaToRgb(await loadImage(mask, { name })))
}

/** A picture of one grey channel. */
export function greyImage(pixels: Pixels): Image {
  const { width, height, data } = greyToRgb(pixels)
  return new Image({ width, height, data })
}

async function onWhite({ width, height, data }: Pixels): Promise<Pixels> {
  const out = blank(width, height, 3)
  await eachRow(height, (row) => {
    for (let from = row * width * 4, to = row * width * 3; to < (row + 1) * width * 3; from += 4, to += 3) {
      const alpha = Math.fround((data[from + 3] ?? 0) / 255)
      for (let channel = 0; channel < 3; channel += 1) {
        const value = Math.fround(Math.fround((data[from + channel] ?? 0) * alpha) + Math.fround(255 * Math.fround(1 - alpha)))
        out.data[to + channel] = Math.min(255, Math.trunc(value))
      }
    }
  })
  return out
}

function toResolution(pixels: Pixels, resolution: number): Promise<Pixels> {
  const k = resolution / Math.min(pixels.width, pixels.height)
  const [width, height] = [multipleOf64(pixels.width * k), multipleOf64(pixels.height * k)]
  return k > 1 ? resizeLanczos4(pixels, width, height) : resizeArea(pixels, width, height)
}

/** Rounds half to even, as numpy does. */
function multipleOf64(size: number): number {
  const units = size / 64
  const floor = Math.floor(units)
  const up = units - floor > 0.5 || (units - floor === 0.5 && floor % 2 === 1)
  return Math.max(1, floor + (up ? 1 : 0)) * 64
}
