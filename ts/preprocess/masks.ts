import { checkInteger, checkNumber } from '../checks.ts'
import { InvalidArgumentError } from '../errors.ts'
import { gaussianBlur } from '../image/blur.ts'
import type { Image } from '../image/image.ts'
import { type ImageInput, loadImage } from '../image/load-image.ts'
import { blank, type Pixels, rgbaToRgb } from '../image/pixels.ts'
import { eachRow } from '../image/slices.ts'
import { Tensor } from '../tensor.ts'
import { greyImage, readMask } from './input.ts'

/** Widens the white part of a mask by `pixels` to all sides, corners too; a negative number narrows it. Same as OpenCV's `dilate`, `erode`. */
export async function growMask(mask: ImageInput, pixels: number): Promise<Image> {
  checkInteger('pixels', pixels, { min: -4096, max: 4096 })
  return greyImage(await spread(await readMask(mask), pixels))
}

/** Softens the border of a mask inwards and outwards by a Gaussian of `radius` pixels. */
export async function blurMask(mask: ImageInput, radius = 4): Promise<Image> {
  checkNumber('radius', radius, { min: 0, max: 1000 })
  return greyImage(await gaussianBlur(await readMask(mask), radius))
}

/** Lets a mask fade out over `pixels` beyond its border; what was white stays white. */
export async function featherMask(mask: ImageInput, pixels = 8): Promise<Image> {
  checkInteger('pixels', pixels, { min: 0, max: 1000 })
  const own = await readMask(mask)
  const soft = await gaussianBlur(await spread(own, Math.ceil(pixels / 2)), pixels / 2)
  return greyImage({ ...own, data: own.data.map((value, i) => Math.max(value, soft.data[i] ?? 0)) })
}

/** Exchanges what is repainted and what is kept. */
export async function invertMask(mask: ImageInput): Promise<Image> {
  const own = await readMask(mask)
  return greyImage({ ...own, data: own.data.map((value) => 255 - value) })
}

/**
 * What ControlNet Inpaint takes: the picture from 0 to 1 as (1, 3, H, W), with -1 where the mask is white.
 *
 * Throws `InvalidArgumentError` if the mask has another size. Source: diffusers docs, `make_inpaint_condition`.
 */
export async function inpaintCondition(image: ImageInput, mask: ImageInput): Promise<Tensor> {
  const { width, height, data } = await rgbaToRgb(await loadImage(image))
  const marked = await readMask(mask)
  if (marked.width !== width || marked.height !== height) {
    throw new InvalidArgumentError(`Expected ${width} x ${height} pixels for mask but received ${marked.width} x ${marked.height}`)
  }
  const plane = width * height
  const values = new Float32Array(3 * plane)
  await eachRow(height, (row) => {
    for (let at = row * width; at < (row + 1) * width; at += 1) {
      const isMarked = (marked.data[at] ?? 0) > 127
      for (let channel = 0; channel < 3; channel += 1) {
        values[channel * plane + at] = isMarked ? -1 : (data[at * 3 + channel] ?? 0) / 255
      }
    }
  })
  return Tensor.from(values, [1, 3, height, width])
}

/** The largest (smallest for a negative number) value in a square around each pixel. */
async function spread({ width, height, data }: Pixels, pixels: number): Promise<Pixels> {
  const reach = Math.abs(pixels)
  const choose = pixels < 0 ? Math.min : Math.max
  const across = blank(width, height, 1)
  const out = blank(width, height, 1)
  const pass = (
    source: Uint8Array,
    target: Uint8Array,
    size: number,
    step: number,
    starts: (line: number) => number,
    lines: number,
  ): Promise<void> =>
    eachRow(lines, (line) => {
      const start = starts(line)
      for (let i = 0; i < size; i += 1) {
        let best = source[start + i * step] ?? 0
        for (let near = Math.max(0, i - reach); near <= Math.min(size - 1, i + reach); near += 1) {
          best = choose(best, source[start + near * step] ?? 0)
        }
        target[start + i * step] = best
      }
    })
  await pass(data, across.data, width, 1, (line) => line * width, height)
  await pass(across.data, out.data, height, width, (line) => line, width)
  return out
}
