import { checkInteger, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import type { Pixels } from '../image/pixels.ts'
import { eachRow } from '../image/slices.ts'
import { Generator } from '../random.ts'
import { applyTaps, cubicTaps } from './cubic.ts'
import { extremes, type Plane } from './gaussian.ts'
import { type PreprocessorOptions, readRgb } from './input.ts'

/** Options of {@link shuffle}. */
export interface ShuffleOptions extends PreprocessorOptions {
  /** Size of the swirls in pixels. @default 256 */
  scale?: number
  /** Where the swirls come from. @default a generator of seed 0 */
  generator?: Generator
}

/** Warps a picture by smooth noise, which keeps its colours and loses its composition. Source: controlnet_aux `ContentShuffleDetector`. */
export async function shuffle(image: ImageInput, options?: ShuffleOptions): Promise<Image> {
  const { scale = 256, generator = new Generator(0), ...rest } = checkOptions('options', options)
  checkInteger('scale', scale, { min: 1, max: 16384 })
  if (!(generator instanceof Generator)) {
    throw expected('a Generator', 'generator', generator)
  }
  const pixels = await readRgb(image, rest)
  const [columns, rows] = [Math.floor(pixels.width / scale) + 2, Math.floor(pixels.height / scale) + 2]
  const noise = (): Plane => {
    using drawn = generator.rand([rows, columns])
    return { width: columns, height: rows, data: drawn.toArray() as Float32Array }
  }
  return new Image(await warp(pixels, noise(), noise(), scale))
}

/** Moves every pixel to where two planes of noise, enlarged by cubic interpolation and stretched to the picture, say. */
export async function warp(pixels: Pixels, across: Plane, down: Plane, scale: number): Promise<Pixels> {
  const { width, height } = pixels
  const [xs, ys] = [await disk(across, width, height, scale), await disk(down, width, height, scale)]
  const out = new Uint8ClampedArray(width * height * 3) // its conversion rounds half to even
  await eachRow(height, (y) => {
    for (let at = y * width; at < (y + 1) * width; at += 1) {
      sample(pixels, Math.fround((xs[at] ?? 0) * (width - 1)), Math.fround((ys[at] ?? 0) * (height - 1)), out, at * 3)
    }
  })
  return { width, height, channels: 3, data: new Uint8Array(out.buffer) }
}

/** Bilinear interpolation, rounding half to even. Source: OpenCV 5 `remap`. */
function sample({ width, height, data }: Pixels, x: number, y: number, out: Uint8ClampedArray, to: number): void {
  const [left, top] = [Math.floor(x), Math.floor(y)]
  const [a, b] = [x - left, y - top]
  const [right, bottom] = [Math.min(width - 1, left + 1), Math.min(height - 1, top + 1)]
  for (let channel = 0; channel < 3; channel += 1) {
    const of = (column: number, row: number): number => data[(row * width + column) * 3 + channel] ?? 0
    const upper = of(left, top) + a * (of(right, top) - of(left, top))
    const lower = of(left, bottom) + a * (of(right, bottom) - of(left, bottom))
    out[to + channel] = upper + b * (lower - upper)
  }
}

/** Noise enlarged around the picture by cubic interpolation (a = -0.75), cut to it and stretched to 0..1. */
async function disk(noise: Plane, width: number, height: number, scale: number): Promise<Float64Array> {
  const columns = cubicTaps(noise.width, width + 2 * scale).slice(scale, scale + width)
  const rows = cubicTaps(noise.height, height + 2 * scale).slice(scale, scale + height)
  const out = await applyTaps(noise, columns, rows)
  const [low, high] = extremes(out)
  return out.map((value) => (high > low ? (value - low) / (high - low) : 0))
}
