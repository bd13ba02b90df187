import { eachRow } from './slices.ts'

/** Eight-bit pixels in memory, rows from top to bottom: 1 (grey), 3 (RGB) or 4 (RGBA, straight alpha) channels. */
export type Pixels = { readonly width: number; readonly height: number; readonly channels: 1 | 3 | 4; readonly data: Uint8Array }

/** A decoded picture: RGBA with straight alpha. `hasAlpha` is false if every pixel is opaque because the source had no alpha channel. */
export type RgbaImage = { readonly width: number; readonly height: number; readonly data: Uint8ClampedArray; readonly hasAlpha: boolean }

/** A rectangle in pixels: left, top, right, bottom; right and bottom are exclusive. */
export type Box = readonly [left: number, top: number, right: number, bottom: number]

/** Makes pixels of one value. */
export function blank(width: number, height: number, channels: 1 | 3 | 4, value = 0): Pixels {
  return { width, height, channels, data: new Uint8Array(width * height * channels).fill(value) }
}

/** Drops the alpha channel, as Pillow's `convert("RGB")` does: colours are kept, nothing is blended. Yields to the event loop. */
export async function rgbaToRgb({
  width,
  height,
  data,
}: {
  width: number
  height: number
  data: Uint8ClampedArray | Uint8Array
}): Promise<Pixels> {
  const source = new Uint8Array(data.buffer, data.byteOffset, data.length)
  const out = blank(width, height, 3)
  await eachRow(height, (row) => {
    for (let from = row * width * 4, to = row * width * 3; to < (row + 1) * width * 3; from += 4, to += 3) {
      out.data[to] = source[from] ?? 0
      out.data[to + 1] = source[from + 1] ?? 0
      out.data[to + 2] = source[from + 2] ?? 0
    }
  })
  return out
}

/** Adds an opaque alpha channel; grey becomes RGB. */
export function toRgba(pixels: Pixels, hasAlpha = pixels.channels === 4): RgbaImage {
  const { width, height, channels } = pixels
  if (channels === 4) {
    return { width, height, data: new Uint8ClampedArray(pixels.data), hasAlpha }
  }
  const data = new Uint8ClampedArray(width * height * 4).fill(255)
  const [green, blue] = channels === 1 ? [0, 0] : [1, 2]
  for (let from = 0, to = 0; to < data.length; from += channels, to += 4) {
    data[to] = pixels.data[from] ?? 0
    data[to + 1] = pixels.data[from + green] ?? 0
    data[to + 2] = pixels.data[from + blue] ?? 0
  }
  return { width, height, data, hasAlpha: false }
}

/** Luma by ITU-R 601-2 in 16-bit fixed point. Source: Pillow Convert.c `L24`. */
export function toGrey(pixels: Pixels): Pixels {
  if (pixels.channels === 1) {
    return pixels
  }
  const out = blank(pixels.width, pixels.height, 1)
  for (let from = 0, to = 0; to < out.data.length; from += pixels.channels, to += 1) {
    const red = pixels.data[from] ?? 0
    const green = pixels.data[from + 1] ?? 0
    const blue = pixels.data[from + 2] ?? 0
    out.data[to] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
  }
  return out
}

/** Repeats a grey channel three times. */
export function greyToRgb({ width, height, data }: Pixels): Pixels {
  const out = blank(width, height, 3)
  for (let i = 0; i < data.length; i += 1) {
    const value = data[i] ?? 0
    out.data[i * 3] = value
    out.data[i * 3 + 1] = value
    out.data[i * 3 + 2] = value
  }
  return out
}

/** Cuts out a box; what lies outside of the picture is black. Source: Pillow `Image.crop`. */
export function crop(pixels: Pixels, [left, top, right, bottom]: Box): Pixels {
  const out = blank(Math.max(0, right - left), Math.max(0, bottom - top), pixels.channels)
  paste(out, pixels, -left, -top)
  return out
}

/** Copies `source` into `target` with its left upper corner at (x, y); what does not fit is left out. */
export function paste(target: Pixels, source: Pixels, x: number, y: number): void {
  const { channels } = target
  const first = Math.max(0, -x)
  const last = Math.min(source.width, target.width - x)
  if (last <= first) {
    return
  }
  for (let row = Math.max(0, -y); row < Math.min(source.height, target.height - y); row += 1) {
    const from = (row * source.width + first) * channels
    target.data.set(source.data.subarray(from, from + (last - first) * channels), ((row + y) * target.width + x + first) * channels)
  }
}
