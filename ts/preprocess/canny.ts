import { setImmediate } from 'node:timers/promises'
import { checkNumber, checkOptions } from '../checks.ts'
import type { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import { blank, type Pixels } from '../image/pixels.ts'
import { eachRow } from '../image/slices.ts'
import { greyImage, type PreprocessorOptions, readRgb } from './input.ts'

/** Options of {@link canny}. */
export interface CannyOptions extends PreprocessorOptions {
  /** Gradients up to this are no edge. @default 100 */
  lowThreshold?: number
  /** Gradients above this are an edge; those between count where they touch one. @default 200 */
  highThreshold?: number
}

/** Edges, white on black: pixel for pixel OpenCV's `Canny` (aperture 3, L1 gradient) on RGB. Source: OpenCV canny.cpp. */
export async function canny(image: ImageInput, options?: CannyOptions): Promise<Image> {
  const { lowThreshold = 100, highThreshold = 200, ...rest } = checkOptions('options', options)
  checkNumber('lowThreshold', lowThreshold, { min: 0 })
  checkNumber('highThreshold', highThreshold, { min: 0 })
  return greyImage(await cannyEdges(await readRgb(image, rest), lowThreshold, highThreshold))
}

/** Edges of 8-bit pixels as one channel of 0 and 255. */
export async function cannyEdges(pixels: Pixels, low: number, high: number): Promise<Pixels> {
  const gradient = await sobel(pixels)
  const [weak, strong] = [Math.floor(Math.min(low, high)), Math.floor(Math.max(low, high))]
  const marks = await thin(gradient, weak, strong)
  await setImmediate()
  return grow(marks, pixels.width, pixels.height)
}

/** Gradients of the channel in which they are largest; one pixel of zeros around `size`. */
type Gradient = { dx: Int16Array; dy: Int16Array; size: Int32Array; width: number; height: number }

async function sobel({ width, height, channels, data }: Pixels): Promise<Gradient> {
  const dx = new Int16Array(width * height)
  const dy = new Int16Array(width * height)
  const size = new Int32Array((width + 2) * (height + 2))
  await eachRow(height, (y) => {
    const rows = [Math.max(0, y - 1), y, Math.min(height - 1, y + 1)].map((row) => row * width * channels)
    const [above = 0, here = 0, below = 0] = rows
    for (let x = 0; x < width; x += 1) {
      const left = Math.max(0, x - 1) * channels
      const right = Math.min(width - 1, x + 1) * channels
      const middle = x * channels
      const at = y * width + x
      let best = -1
      for (let channel = 0; channel < channels; channel += 1) {
        const of = (offset: number): number => data[offset + channel] ?? 0
        const [a, b, c, d] = [of(above + left), of(above + right), of(below + left), of(below + right)]
        const across = b - a + 2 * (of(here + right) - of(here + left)) + d - c
        const down = c - a + 2 * (of(below + middle) - of(above + middle)) + d - b
        const norm = Math.abs(across) + Math.abs(down)
        if (norm > best) {
          best = norm
          dx[at] = across
          dy[at] = down
        }
      }
      size[(y + 1) * (width + 2) + x + 1] = best
    }
  })
  return { dx, dy, size, width, height }
}

/** tan(22.5 degrees) in 15 bits. */
const TAN_22 = 13573

/** Keeps ridges of the gradient: 2 for sure edges, 1 for possible ones. */
async function thin({ dx, dy, size, width, height }: Gradient, low: number, high: number): Promise<Uint8Array> {
  const marks = new Uint8Array(width * height)
  const stride = width + 2
  await eachRow(height, (y) => {
    for (let x = 0; x < width; x += 1) {
      const at = (y + 1) * stride + x + 1
      const value = size[at] ?? 0
      const [across, down] = [dx[y * width + x] ?? 0, dy[y * width + x] ?? 0]
      if (value > low && isRidge(size, at, value, stride, across, down)) {
        marks[y * width + x] = value > high ? 2 : 1
      }
    }
  })
  return marks
}

function isRidge(size: Int32Array, at: number, value: number, stride: number, across: number, down: number): boolean {
  const of = (offset: number): number => size[at + offset] ?? 0
  const shallow = Math.abs(across) * TAN_22
  const steepness = Math.abs(down) * 32768
  if (steepness < shallow) {
    return value > of(-1) && value >= of(1)
  }
  if (steepness > shallow + Math.abs(across) * 65536) {
    return value > of(-stride) && value >= of(stride)
  }
  const side = across < 0 !== down < 0 ? -1 : 1
  return value > of(-stride - side) && value > of(stride + side)
}

/** Sure edges, and possible ones that touch them directly or through others. */
function grow(marks: Uint8Array, width: number, height: number): Pixels {
  const out = blank(width, height, 1)
  const stack: number[] = []
  for (let at = 0; at < marks.length; at += 1) {
    if (marks[at] === 2) {
      out.data[at] = 255
      stack.push(at)
    }
  }
  for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
    const x = at % width
    const y = (at - x) / width
    for (let row = Math.max(0, y - 1); row <= Math.min(height - 1, y + 1); row += 1) {
      for (let column = Math.max(0, x - 1); column <= Math.min(width - 1, x + 1); column += 1) {
        const near = row * width + column
        if (marks[near] === 1 && out.data[near] === 0) {
          out.data[near] = 255
          stack.push(near)
        }
      }
    }
  }
  return out
}
