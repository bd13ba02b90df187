import { checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import { Image } from '../image/image.ts'
import { type ImageInput, loadImage } from '../image/load-image.ts'
import { rgbaToRgb } from '../image/pixels.ts'
import { type ResampleFilter, resampleFilters, resize } from '../image/resample.ts'

/** Width and height times `factor`, each down to a whole number and then to a multiple of `multiple`, at least that. */
export function enlargedSize(
  { width, height }: { width: number; height: number },
  factor: number,
  multiple = 8,
): { width: number; height: number } {
  const side = (size: number): number => Math.max(multiple, Math.trunc(size * factor) - (Math.trunc(size * factor) % multiple))
  return { width: side(width), height: side(height) }
}

/**
 * Resizes a picture by `factor` to multiples of 8: Lanczos where it grows, averaged areas where it shrinks; 0 and below change nothing.
 *
 * `filter` takes the place of both. Seed and parameters of an `Image` stay with it.
 */
export async function enlarge(
  image: ImageInput,
  factor: number,
  { filter, multiple = 8 }: { filter?: ResampleFilter; multiple?: number } = {},
): Promise<Image> {
  checkNumber('factor', factor, { max: 64 })
  if (filter !== undefined && !resampleFilters.includes(filter)) {
    throw expected(`one of ${resampleFilters.join(', ')}`, 'filter', filter)
  }
  const pixels = await rgbaToRgb(await loadImage(image))
  const made = image instanceof Image ? { seed: image.seed, parameters: image.parameters } : {}
  if (factor <= 0) {
    return new Image({ ...pixels, ...made })
  }
  const { width, height } = enlargedSize(pixels, factor, multiple)
  return new Image({ ...(await resize(pixels, width, height, filter ?? (factor > 1 ? 'lanczos' : 'box'))), ...made })
}
