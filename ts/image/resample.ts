import { type Box, blank, type Pixels } from './pixels.ts'
import { eachRow } from './slices.ts'

/** How new pixels are computed; `lanczos` has three lobes, `bicubic` a = -0.5. All but `nearest` widen their support when shrinking. */
export type ResampleFilter = 'nearest' | 'box' | 'bilinear' | 'hamming' | 'bicubic' | 'lanczos'

/** The names of the filters. */
export const resampleFilters: readonly ResampleFilter[] = ['nearest', 'box', 'bilinear', 'hamming', 'bicubic', 'lanczos']

type Kernel = { support: number; weight: (x: number) => number }

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI))

const kernels: Record<Exclude<ResampleFilter, 'nearest'>, Kernel> = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  hamming: { support: 1, weight: (x) => (Math.abs(x) < 1 ? sinc(x) * (Math.fround(0.54) + Math.fround(0.46) * Math.cos(x * Math.PI)) : 0) },
  bicubic: { support: 2, weight: (x) => cubic(Math.abs(x)) },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
}

function cubic(x: number): number {
  const a = -0.5
  if (x < 1) {
    return ((a + 2) * x - (a + 3)) * x * x + 1
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
}

/** 22 bits: 32 of the accumulator less 8 of the pixel and 2 for weights that are negative or sum to more than one. */
const precisionBits = 22
const half = 1 << (precisionBits - 1)

/** Weights of one axis: for each output position where its input window starts, how long it is, and `size` fixed-point weights. */
type Taps = { start: Int32Array; count: Int32Array; size: number; weights: Int32Array }

/** Source: Pillow Resample.c `precompute_coeffs` and `normalize_coeffs_8bpc`. */
function taps(kernel: Kernel, input: number, from: number, to: number, output: number): Taps {
  const scale = (to - from) / output
  const stretch = Math.max(1, scale)
  const support = kernel.support * stretch
  const size = Math.ceil(support) * 2 + 1
  const result: Taps = { start: new Int32Array(output), count: new Int32Array(output), size, weights: new Int32Array(output * size) }
  const window = new Float64Array(size)
  for (let position = 0; position < output; position += 1) {
    const center = from + (position + 0.5) * scale
    const start = Math.max(0, Math.trunc(center - support + 0.5))
    const count = Math.min(input, Math.trunc(center + support + 0.5)) - start
    let sum = 0
    for (let i = 0; i < count; i += 1) {
      const weight = kernel.weight((i + start - center + 0.5) * (1 / stretch))
      window[i] = weight
      sum += weight
    }
    for (let i = 0; i < count; i += 1) {
      const weight = ((window[i] ?? 0) / (sum === 0 ? 1 : sum)) * (1 << precisionBits)
      result.weights[position * size + i] = Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5)
    }
    result.start[position] = start
    result.count[position] = count
  }
  return result
}

const clip = (sum: number): number => Math.min(255, Math.max(0, sum >> precisionBits))

function horizontalRow(source: Pixels, target: Pixels, row: number, { start, count, size, weights }: Taps): void {
  const { channels } = source
  for (let x = 0; x < target.width; x += 1) {
    const first = (row * source.width + (start[x] ?? 0)) * channels
    for (let channel = 0; channel < channels; channel += 1) {
      let sum = half
      for (let i = 0, at = first + channel; i < (count[x] ?? 0); i += 1, at += channels) {
        sum += (source.data[at] ?? 0) * (weights[x * size + i] ?? 0)
      }
      target.data[(row * target.width + x) * channels + channel] = clip(sum)
    }
  }
}

function verticalRow(source: Pixels, target: Pixels, row: number, { start, count, size, weights }: Taps, sums: Int32Array): void {
  const stride = source.width * source.channels
  sums.fill(half)
  for (let i = 0; i < (count[row] ?? 0); i += 1) {
    const weight = weights[row * size + i] ?? 0
    const from = ((start[row] ?? 0) + i) * stride
    for (let at = 0; at < stride; at += 1) {
      sums[at] = (sums[at] ?? 0) + (source.data[from + at] ?? 0) * weight
    }
  }
  for (let at = 0; at < stride; at += 1) {
    target.data[row * stride + at] = clip(sums[at] ?? 0)
  }
}

/** Source: Pillow Geometry.c `ImagingScaleAffine`: positions are accumulated, not multiplied. */
function nearestPositions(input: number, from: number, to: number, output: number): Int32Array {
  const scale = (to - from) / output
  const result = new Int32Array(output)
  let position = from + scale * 0.5
  for (let i = 0; i < output; i += 1) {
    result[i] = Math.min(input - 1, Math.max(0, Math.floor(position)))
    position += scale
  }
  return result
}

async function nearest(source: Pixels, width: number, height: number, box: Box): Promise<Pixels> {
  const target = blank(width, height, source.channels)
  const columns = nearestPositions(source.width, box[0], box[2], width)
  const rows = nearestPositions(source.height, box[1], box[3], height)
  const { channels } = source
  await eachRow(height, (y) => {
    for (let x = 0; x < width; x += 1) {
      const from = ((rows[y] ?? 0) * source.width + (columns[x] ?? 0)) * channels
      for (let channel = 0; channel < channels; channel += 1) {
        target.data[(y * width + x) * channels + channel] = source.data[from + channel] ?? 0
      }
    }
  })
  return target
}

/** Multiplies colours by alpha (`forward`) or divides them. Source: Pillow Convert.c `rgbA2rgba` and `rgba2rgbA`. */
function premultiply(pixels: Pixels, direction: 'forward' | 'back'): Pixels {
  const data = new Uint8Array(pixels.data)
  for (let at = 0; at < data.length; at += 4) {
    const alpha = data[at + 3] ?? 0
    if (alpha === 255 || (alpha === 0 && direction === 'back')) {
      continue
    }
    for (let channel = at; channel < at + 3; channel += 1) {
      const value = data[channel] ?? 0
      const product = value * alpha + 128
      data[channel] = direction === 'forward' ? ((product >> 8) + product) >> 8 : Math.min(255, Math.trunc((255 * value) / alpha))
    }
  }
  return { ...pixels, data }
}

/**
 * Resizes pixels exactly as Pillow 13's `Image.resize` does: 8-bit fixed point, horizontal pass first unless the height shrinks by more than
 * twice as many pixels as the width. RGBA is resized with premultiplied alpha.
 *
 * `box` is the part of the source that fills the result, by default all of it. Yields to the event loop every 8 ms.
 * Source: Pillow 13 Resample.c `ImagingResampleInner`.
 */
export async function resize(
  source: Pixels,
  width: number,
  height: number,
  filter: ResampleFilter = 'bicubic',
  box?: Box,
): Promise<Pixels> {
  const [left, top, right, bottom] = box ?? [0, 0, source.width, source.height]
  const whole = left === 0 && top === 0 && right === source.width && bottom === source.height
  if (whole && width === source.width && height === source.height) {
    return source
  }
  if (filter === 'nearest') {
    return nearest(source, width, height, [left, top, right, bottom])
  }
  if (source.channels === 4) {
    const resized = await resizeChannels(premultiply(source, 'forward'), width, height, kernels[filter], [left, top, right, bottom])
    return premultiply(resized, 'back')
  }
  return resizeChannels(source, width, height, kernels[filter], [left, top, right, bottom])
}

async function horizontally(source: Pixels, width: number, kernel: Kernel, from: number, to: number): Promise<Pixels> {
  if (width === source.width && from === 0 && to === source.width) {
    return source
  }
  const target = blank(width, source.height, source.channels)
  const axis = taps(kernel, source.width, from, to, width)
  await eachRow(source.height, (row) => horizontalRow(source, target, row, axis))
  return target
}

async function vertically(source: Pixels, height: number, kernel: Kernel, from: number, to: number): Promise<Pixels> {
  if (height === source.height && from === 0 && to === source.height) {
    return source
  }
  const target = blank(source.width, height, source.channels)
  const axis = taps(kernel, source.height, from, to, height)
  const sums = new Int32Array(source.width * source.channels)
  await eachRow(height, (row) => verticalRow(source, target, row, axis, sums))
  return target
}

async function resizeChannels(source: Pixels, width: number, height: number, kernel: Kernel, box: Box): Promise<Pixels> {
  const shorter = source.height - height
  if (shorter > 0 && shorter > (source.width - width) * 2) {
    return horizontally(await vertically(source, height, kernel, box[1], box[3]), width, kernel, box[0], box[2])
  }
  return vertically(await horizontally(source, width, kernel, box[0], box[2]), height, kernel, box[1], box[3])
}
