import { checkInteger } from '../checks.ts'
import { expected } from '../errors.ts'
import { Image } from '../image/image.ts'
import { type ImageInput, loadImage } from '../image/load-image.ts'
import { crop, type Pixels, rgbaToRgb } from '../image/pixels.ts'
import { eachRow } from '../image/slices.ts'

/** How a picture is cut into tiles. */
export interface TileGrid {
  /** Side of a tile in pixels, a multiple of 8. @default 512 */
  size?: number
  /** Pixels that a tile shares with the next one at least, less than its side. @default 64, at most a quarter of the side */
  overlap?: number
}

/** Where tiles begin along one side: evenly spread, so that the last one ends with the side. */
export function tileStarts(length: number, size: number, overlap: number): number[] {
  if (length <= size) {
    return [0]
  }
  const count = Math.ceil((length - overlap) / (size - overlap))
  return Array.from({ length: count }, (_, i) => Math.floor((i * (length - size)) / (count - 1)))
}

/**
 * Works on a picture tile by tile and blends the results where they overlap, each fading out towards its border.
 *
 * `work` gets one tile at a time and gives a picture of the same size. A picture smaller than a tile is one tile.
 */
export async function mapTiles(
  image: ImageInput,
  work: (tile: Image, index: number, total: number) => Promise<Image>,
  grid: TileGrid = {},
): Promise<Image> {
  const { size = 512 } = grid
  checkInteger('tile.size', size, { min: 16, max: 16384 })
  const { overlap = Math.min(64, Math.floor(size / 4)) } = grid
  checkInteger('tile.overlap', overlap, { min: 0, max: size - 8 })
  if (size % 8 !== 0) {
    throw expected('a multiple of 8', 'tile.size', size)
  }
  const pixels = await rgbaToRgb(await loadImage(image))
  const [wide, tall] = [Math.min(size, pixels.width), Math.min(size, pixels.height)]
  const places = tileStarts(pixels.height, size, overlap).flatMap((y) => tileStarts(pixels.width, size, overlap).map((x) => ({ x, y })))
  const blend = new Blend(pixels.width, pixels.height, overlap)
  for (const [i, { x, y }] of places.entries()) {
    const made = await work(new Image(crop(pixels, [x, y, x + wide, y + tall])), i, places.length)
    if (made.width !== wide || made.height !== tall) {
      throw expected(`a picture of ${wide} x ${tall} pixels`, 'the result of work', `${made.width} x ${made.height}`)
    }
    await blend.add(made.pixels(), x, y)
  }
  return blend.image()
}

/** The weighted mean of pictures that overlap. */
class Blend {
  readonly #sums: Float32Array
  readonly #weights: Float32Array
  readonly #width: number
  readonly #height: number
  readonly #overlap: number

  constructor(width: number, height: number, overlap: number) {
    this.#width = width
    this.#height = height
    this.#overlap = overlap
    this.#sums = new Float32Array(width * height * 3)
    this.#weights = new Float32Array(width * height)
  }

  async add({ width, height, data }: Pixels, left: number, top: number): Promise<void> {
    const across = this.#ramp(width, left, this.#width)
    const down = this.#ramp(height, top, this.#height)
    await eachRow(height, (y) => {
      for (let x = 0; x < width; x += 1) {
        const weight = (across[x] ?? 0) * (down[y] ?? 0)
        const at = (top + y) * this.#width + left + x
        this.#weights[at] = (this.#weights[at] ?? 0) + weight
        for (let channel = 0; channel < 3; channel += 1) {
          this.#sums[at * 3 + channel] = (this.#sums[at * 3 + channel] ?? 0) + weight * (data[(y * width + x) * 3 + channel] ?? 0)
        }
      }
    })
  }

  async image(): Promise<Image> {
    const data = new Uint8ClampedArray(this.#sums.length) // its conversion rounds
    const stride = this.#width * 3
    await eachRow(this.#height, (y) => {
      for (let i = y * stride; i < (y + 1) * stride; i += 1) {
        data[i] = (this.#sums[i] ?? 0) / (this.#weights[Math.trunc(i / 3)] || 1)
      }
    })
    return new Image({ width: this.#width, height: this.#height, data })
  }

  /** Rises over the overlap from each border that is not the picture's own. */
  #ramp(size: number, start: number, whole: number): Float32Array {
    const fade = (distance: number): number => Math.min(1, (distance + 0.5) / Math.max(1, this.#overlap))
    return Float32Array.from({ length: size }, (_, i) => {
      const first = start === 0 ? 1 : fade(i)
      const last = start + size >= whole ? 1 : fade(size - 1 - i)
      return Math.min(first, last)
    })
  }
}
