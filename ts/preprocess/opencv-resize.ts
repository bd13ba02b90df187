import { blank, type Pixels } from '../image/pixels.ts'
import { eachRow } from '../image/slices.ts'

const { fround } = Math

/** For one output position: the source positions it is made of and their weights. */
type Taps = { at: number[]; weights: number[] }

const toEven = (value: number): number => {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor
}
const byte = (value: number): number => Math.min(255, Math.max(0, value))
const clamp = (value: number, size: number): number => Math.min(size - 1, Math.max(0, value))

/** Resizes by averaging areas, as OpenCV's INTER_AREA does; a side that grows is interpolated linearly. Source: OpenCV resize.cpp. */
export async function resizeArea(source: Pixels, width: number, height: number): Promise<Pixels> {
  const across = source.width / width
  const down = source.height / height
  if (across < 1 || down < 1) {
    return linear(source, width, height)
  }
  if (Number.isInteger(across) && Number.isInteger(down)) {
    return blocks(source, width, height, across, down)
  }
  return areas(source, areaTaps(source.width, width), areaTaps(source.height, height))
}

/** Resizes with a Lanczos window of 8 pixels, as OpenCV's INTER_LANCZOS4 does in fixed point. Source: OpenCV resize.cpp. */
export async function resizeLanczos4(source: Pixels, width: number, height: number): Promise<Pixels> {
  const columns = lanczosTaps(source.width, width)
  const { channels } = source
  const stride = width * channels
  const between = new Int32Array(stride * source.height)
  await eachTap(source.height, columns, channels, (y, x, channel, { at, weights }) => {
    let sum = 0
    for (let i = 0; i < at.length; i += 1) {
      sum += (source.data[(y * source.width + (at[i] ?? 0)) * channels + channel] ?? 0) * (weights[i] ?? 0)
    }
    between[y * stride + x * channels + channel] = sum
  })
  return eachValue(blank(width, height, channels), lanczosTaps(source.height, height), (x, { at, weights }) => {
    let sum = 1 << 21
    for (let i = 0; i < at.length; i += 1) {
      sum += (between[(at[i] ?? 0) * stride + x] ?? 0) * (weights[i] ?? 0)
    }
    return byte(Math.floor(sum / (1 << 22)))
  })
}

function eachTap(
  rows: number,
  columns: readonly Taps[],
  channels: number,
  work: (y: number, x: number, c: number, t: Taps) => void,
): Promise<void> {
  return eachRow(rows, (y) => {
    for (const [x, taps] of columns.entries()) {
      for (let channel = 0; channel < channels; channel += 1) {
        work(y, x, channel, taps)
      }
    }
  })
}

/** Fills a picture row by row: `value` makes each number of a row from its place in it and the row's taps. */
async function eachValue(out: Pixels, rows: readonly Taps[], value: (x: number, taps: Taps) => number): Promise<Pixels> {
  const stride = out.width * out.channels
  await eachRow(out.height, (y) => {
    const taps = rows[y] as Taps
    for (let x = 0; x < stride; x += 1) {
      out.data[y * stride + x] = value(x, taps)
    }
  })
  return out
}

/** Whole blocks of `across` x `down` pixels. */
async function blocks(source: Pixels, width: number, height: number, across: number, down: number): Promise<Pixels> {
  const { channels } = source
  const out = blank(width, height, channels)
  const scale = fround(1 / (across * down))
  const stride = width * channels
  await eachRow(height, (y) => {
    for (let i = 0; i < stride; i += 1) {
      const channel = i % channels
      const x = Math.trunc(i / channels)
      let sum = 0
      for (let row = y * down; row < (y + 1) * down; row += 1) {
        for (let column = x * across; column < (x + 1) * across; column += 1) {
          sum += source.data[(row * source.width + column) * channels + channel] ?? 0
        }
      }
      out.data[y * stride + i] = across === 2 && down === 2 ? (sum + 2) >> 2 : toEven(fround(sum * scale))
    }
  })
  return out
}

/** Source: OpenCV resize.cpp `computeResizeAreaTab`. */
function areaTaps(input: number, output: number): Taps[] {
  const scale = input / output
  return Array.from({ length: output }, (_, position) => {
    const from = position * scale
    const to = from + scale
    const cell = Math.min(scale, input - from)
    const end = Math.min(Math.floor(to), input - 1)
    const start = Math.min(Math.ceil(from), end)
    const taps: Taps = { at: [], weights: [] }
    const push = (at: number, weight: number): void => {
      taps.at.push(at)
      taps.weights.push(fround(weight / cell))
    }
    if (start - from > 1e-3) {
      push(start - 1, start - from)
    }
    for (let at = start; at < end; at += 1) {
      push(at, 1)
    }
    if (to - end > 1e-3) {
      push(end, Math.min(Math.min(to - end, 1), cell))
    }
    return taps
  })
}

/** Source: OpenCV resize.cpp `ResizeArea_Invoker`. */
async function areas(source: Pixels, columns: readonly Taps[], rows: readonly Taps[]): Promise<Pixels> {
  const { channels } = source
  const stride = columns.length * channels
  const narrow = new Float32Array(stride * source.height)
  await eachTap(source.height, columns, channels, (y, x, channel, { at, weights }) => {
    let sum = 0
    for (let i = 0; i < at.length; i += 1) {
      sum = fround(sum + fround((source.data[(y * source.width + (at[i] ?? 0)) * channels + channel] ?? 0) * (weights[i] ?? 0)))
    }
    narrow[y * stride + x * channels + channel] = sum
  })
  return eachValue(blank(columns.length, rows.length, channels), rows, (x, { at, weights }) => {
    let sum = 0
    for (let i = 0; i < at.length; i += 1) {
      sum = fround(sum + fround((narrow[(at[i] ?? 0) * stride + x] ?? 0) * (weights[i] ?? 0)))
    }
    return byte(toEven(sum))
  })
}

/** Two neighbours whose weights, in 11 bits, keep areas; see `area_mode` in OpenCV resize.cpp. */
function linearTaps(input: number, output: number): Taps[] {
  const scale = input / output
  return Array.from({ length: output }, (_, position) => {
    const at = Math.floor(position * scale)
    const raw = fround(position + 1 - (at + 1) * (output / input))
    const part = raw <= 0 || at >= input - 1 ? 0 : fround(raw - Math.floor(raw))
    return { at: [clamp(at, input), clamp(at + 1, input)], weights: [toEven(fround(fround(1 - part) * 2048)), toEven(fround(part * 2048))] }
  })
}

async function linear(source: Pixels, width: number, height: number): Promise<Pixels> {
  const { channels } = source
  const stride = width * channels
  const between = new Int32Array(stride * source.height)
  const columns = linearTaps(source.width, width)
  await eachTap(source.height, columns, channels, (y, x, channel, { at: [a = 0, b = 0], weights: [p = 0, q = 0] }) => {
    const of = (column: number): number => source.data[(y * source.width + column) * channels + channel] ?? 0
    between[y * stride + x * channels + channel] = of(a) * p + of(b) * q
  })
  const rows = linearTaps(source.height, height)
  return eachValue(blank(width, height, channels), rows, (x, { at: [a = 0, b = 0], weights: [p = 0, q = 0] }) => {
    const upper = (p * ((between[a * stride + x] ?? 0) >> 4)) >> 16
    const lower = (q * ((between[b * stride + x] ?? 0) >> 4)) >> 16
    return byte((upper + lower + 2) >> 2)
  })
}

/** The eight weights of `interpolateLanczos4` for a position between two pixels, in 11 bits. */
function lanczosTaps(input: number, output: number): Taps[] {
  const scale = input / output
  const half = Math.SQRT1_2
  const turns = [
    [1, 0],
    [-half, -half],
    [0, 1],
    [half, -half],
    [-1, 0],
    [half, half],
    [0, -1],
    [-half, half],
  ] as const
  return Array.from({ length: output }, (_, position) => {
    const center = fround((position + 0.5) * scale - 0.5)
    const floor = Math.floor(center)
    const part = fround(center - floor)
    const at = turns.map((_, i) => clamp(floor + i - 3, input))
    const start = (-(part + 3) * Math.PI) / 4
    const [s, c] = [Math.sin(start), Math.cos(start)]
    const raw = turns.map(([a, b], i) => {
      const y = (-fround(part + 3 - i) * Math.PI) / 4
      return part + 3 - i === 0 ? 1e30 : fround((a * s + b * c) / (y * y))
    })
    const sum = raw.reduce((total, weight) => fround(total + weight), 0)
    return { at, weights: raw.map((weight) => toEven(fround(fround(weight * fround(1 / sum)) * 2048))) }
  })
}
