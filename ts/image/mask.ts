import { InvalidArgumentError } from '../errors.ts'
import { Image } from './image.ts'
import { type ImageInput, loadImage } from './load-image.ts'
import { type Box, blank, greyToRgb, type Pixels } from './pixels.ts'
import { eachRow } from './slices.ts'

type Span = readonly [from: number, to: number]

function anyInColumn({ data, width, height }: Pixels, x: number): boolean {
  for (let y = 0; y < height; y += 1) {
    if (data[y * width + x] !== 0) {
      return true
    }
  }
  return false
}

function boundingBox(mask: Pixels): Box | undefined {
  const { width, height, data } = mask
  const rows = Array.from({ length: height }, (_, y) => data.subarray(y * width, (y + 1) * width).some((value) => value !== 0))
  const top = rows.indexOf(true)
  if (top === -1) {
    return undefined
  }
  const columns = Array.from({ length: width }, (_, x) => anyInColumn(mask, x))
  return [columns.indexOf(true), top, columns.lastIndexOf(true) + 1, rows.lastIndexOf(true) + 1]
}

/** Widens a span to `length` and moves it back inside 0..`limit`; it is cut where it does not fit. */
function widen([from, to]: Span, length: number, limit: number): Span {
  const more = Math.trunc(length - (to - from))
  let start = from - Math.floor(more / 2)
  let end = to + more - Math.floor(more / 2)
  if (end >= limit) {
    start -= end - limit
    end = limit
  }
  if (start < 0) {
    end -= start
    start = 0
  }
  return [start, Math.min(end, limit)]
}

/**
 * The box around everything that is not black in a grey mask, widened by `pad` pixels and then to the aspect ratio of `width` x `height`.
 *
 * Throws `InvalidArgumentError` if the mask is all black. Source: diffusers image_processor.py `get_crop_region`.
 */
export function cropRegion(mask: Pixels, width: number, height: number, pad: number): Box {
  const found = boundingBox(mask)
  if (found === undefined) {
    throw new InvalidArgumentError('Expected a mask with a part to repaint (white) for mask but received one that is all black')
  }
  const x: Span = [Math.max(found[0] - pad, 0), Math.min(found[2] + pad, mask.width)]
  const y: Span = [Math.max(found[1] - pad, 0), Math.min(found[3] + pad, mask.height)]
  const wide = x[1] - x[0]
  const high = y[1] - y[0]
  const ratio = width / height
  const [left, right] = wide / high > ratio ? x : widen(x, high * ratio, mask.width)
  const [top, bottom] = wide / high > ratio ? widen(y, wide / ratio, mask.height) : y
  return [left, top, right, bottom]
}

const byte = (value: number): number => (((value + 128) >> 8) + value + 128) >> 8

/**
 * Lays the unmasked part of `original` over `image`: black in the grey mask keeps the original, white the image, grey blends.
 *
 * All three have the same size; RGB. Source: diffusers image_processor.py `apply_overlay` in the fixed-point arithmetic of Pillow's Paste.c and AlphaComposite.c.
 */
export async function overlay(mask: Pixels, original: Pixels, image: Pixels): Promise<Pixels> {
  const { width, height } = image
  const out = blank(width, height, 3)
  await eachRow(height, (row) => {
    for (let i = row * width; i < (row + 1) * width; i += 1) {
      const alpha = 255 - (mask.data[i] ?? 0)
      for (let at = i * 3; at < i * 3 + 3; at += 1) {
        const below = image.data[at] ?? 0
        const premultiplied = byte((original.data[at] ?? 0) * alpha)
        const above = alpha === 0 || alpha === 255 ? premultiplied : Math.min(255, Math.trunc((255 * premultiplied) / alpha))
        const sum = (above * alpha + below * (255 - alpha)) * 128 + 128 * 128
        out.data[at] = alpha === 0 ? below : ((sum >> 8) + sum) >> 15
      }
    }
  })
  return out
}

/** A mask for inpainting from a picture's alpha channel: transparent parts become white, to be repainted; opaque ones black. */
export async function maskFromAlpha(image: ImageInput): Promise<Image> {
  const { width, height, data } = await loadImage(image)
  const mask = blank(width, height, 1)
  for (let i = 0; i < mask.data.length; i += 1) {
    mask.data[i] = 255 - (data[i * 4 + 3] ?? 255)
  }
  return new Image({ width, height, data: greyToRgb(mask).data })
}
