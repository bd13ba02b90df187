import { checkInteger, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { codec } from './codec.ts'
import { Image } from './image.ts'
import { blank, type Pixels, paste } from './pixels.ts'

/** Options of {@link imageGrid}. */
export type ImageGridOptions = {
  /** @default as many as `cols` needs, else as square as possible */
  rows?: number
  /** @default as many as `rows` needs, else as square as possible */
  cols?: number
}

/** Options of {@link imageStrip}. */
export type ImageStripOptions = {
  /** White space around the pictures in pixels. @default 16 */
  gap?: number
  /** Height of the titles in pixels. @default 12 */
  fontSize?: number
}

function check(images: readonly Image[]): [first: Image, ...rest: Image[]] {
  const [first, ...rest] = images
  if (first === undefined || !images.every((image) => image instanceof Image)) {
    throw expected('at least one Image', 'images', images)
  }
  return [first, ...rest]
}

/**
 * Lays pictures out in rows and columns, row by row, in cells of the first picture's size.
 *
 * Throws `InvalidArgumentError` if the pictures do not fill `rows` x `cols` exactly, as diffusers' `make_image_grid` does; with only one of
 * the two (or none) given, the last row may stay partly black.
 */
export async function imageGrid(images: readonly Image[], options: ImageGridOptions = {}): Promise<Image> {
  const { rows, cols } = checkOptions('options', options)
  const [first] = check(images)
  const across = checkInteger('cols', cols ?? Math.ceil(rows === undefined ? Math.sqrt(images.length) : images.length / rows), {
    min: 1,
    max: 1000,
  })
  const down = checkInteger('rows', rows ?? Math.ceil(images.length / across), { min: 1, max: 1000 })
  if ((rows !== undefined && cols !== undefined && images.length !== rows * cols) || images.length > across * down) {
    throw expected(`${across * down} images for ${down} rows of ${across}`, 'images', images.length)
  }
  const grid = blank(across * first.width, down * first.height, 3)
  for (const [i, image] of images.entries()) {
    paste(grid, image.pixels(), (i % across) * first.width, Math.floor(i / across) * first.height)
  }
  return new Image(grid)
}

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }

async function label(text: string, width: number, height: number, fontSize: number): Promise<Pixels> {
  const safe = [...text].map((character) => escapes[character] ?? (character < ' ' ? ' ' : character)).join('')
  const y = Math.round(height / 2 + fontSize / 3)
  const attributes = `x="50%" y="${y}" text-anchor="middle" font-family="sans-serif" font-size="${fontSize}"`
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="white"/><text ${attributes}>${safe}</text></svg>`
  const { data, info } = await codec()(Buffer.from(svg)).removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, channels: 3, data }
}

/** Pictures side by side on white, each under its title: for comparing. */
export async function imageStrip(entries: readonly { title: string; image: Image }[], options: ImageStripOptions = {}): Promise<Image> {
  const { gap = 16, fontSize = 12 } = checkOptions('options', options)
  checkInteger('gap', gap, { min: 0, max: 1000 })
  checkInteger('fontSize', fontSize, { min: 4, max: 200 })
  if (!Array.isArray(entries)) {
    throw expected('an array of { title, image }', 'entries', entries)
  }
  const images = check(entries.map((entry: { image?: unknown } | null) => entry?.image as Image))
  const head = fontSize * 2 + 4
  const width = gap + images.reduce((sum, image) => sum + image.width + gap, 0)
  const strip = blank(width, head + Math.max(...images.map(({ height }) => height)) + gap, 3, 255)
  let left = gap
  for (const { title, image } of entries) {
    paste(strip, await label(String(title), image.width, head, fontSize), left, 0)
    paste(strip, image.pixels(), left, head)
    left += image.width + gap
  }
  return new Image(strip)
}
