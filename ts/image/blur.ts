import { blank, type Pixels } from './pixels.ts'
import { eachRow } from './slices.ts'

const passes = 3
const { fround } = Math

/** The box radius whose three passes come nearest to a Gaussian. Source: Gwosdek et al. 2011, equations 7, 11, 14; Pillow BoxBlur.c. */
function boxRadius(radius: number): number {
  const variance = fround(fround(radius * radius) / passes)
  const whole = Math.floor((Math.sqrt(12 * variance + 1) - 1) / 2)
  const part = ((2 * whole + 1) * (whole * (whole + 1) - 3 * variance)) / (6 * (variance - (whole + 1) * (whole + 1)))
  return fround(whole + fround(part))
}

/** One box blur of lines that lie `step` bytes apart pixel by pixel; edges repeat their last pixel. */
function blurLine(line: Uint8Array, out: Uint8Array, length: number, radius: number): void {
  const whole = Math.trunc(radius)
  const inner = Math.trunc(fround((1 << 24) / fround(radius * 2 + 1)))
  const outer = Math.trunc(((1 << 24) - (whole * 2 + 1) * inner) / 2)
  const at = (i: number): number => line[Math.min(length - 1, Math.max(0, i))] ?? 0
  let sum = 0
  for (let i = -whole - 1; i < whole; i += 1) {
    sum += at(i)
  }
  for (let i = 0; i < length; i += 1) {
    sum += at(i + whole) - at(i - whole - 1)
    out[i] = Math.trunc((sum * inner + (at(i - whole - 1) + at(i + whole + 1)) * outer + (1 << 23)) / (1 << 24))
  }
}

async function blurAxis(
  data: Uint8Array,
  lines: number,
  length: number,
  offset: (line: number) => number,
  step: number,
  radius: number,
): Promise<void> {
  let line = new Uint8Array(length)
  let out = new Uint8Array(length)
  await eachRow(lines, (i) => {
    const start = offset(i)
    for (let at = 0; at < length; at += 1) {
      line[at] = data[start + at * step] ?? 0
    }
    for (let pass = 0; pass < passes; pass += 1) {
      blurLine(line, out, length, radius)
      ;[line, out] = [out, line]
    }
    for (let at = 0; at < length; at += 1) {
      data[start + at * step] = line[at] ?? 0
    }
  })
}

/**
 * Gaussian blur of `radius` pixels by three box blurs, as Pillow's `ImageFilter.GaussianBlur`. Yields to the event loop every 8 ms.
 * Source: Pillow BoxBlur.c `ImagingGaussianBlur`.
 */
export async function gaussianBlur(pixels: Pixels, radius: number): Promise<Pixels> {
  const { width, height, channels } = pixels
  const out = blank(width, height, channels)
  out.data.set(pixels.data)
  const box = boxRadius(radius)
  if (box <= 0) {
    return out
  }
  const row = (i: number): number => Math.trunc(i / channels) * width * channels + (i % channels)
  await blurAxis(out.data, height * channels, width, row, channels, box)
  await blurAxis(out.data, width * channels, height, (i) => i, width * channels, box)
  return out
}
