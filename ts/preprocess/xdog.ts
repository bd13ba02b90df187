import { checkNumber, checkOptions } from '../checks.ts'
import type { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import { blank, type Pixels } from '../image/pixels.ts'
import { eachRow } from '../image/slices.ts'
import { gaussianPlane } from './gaussian.ts'
import { greyImage, type PreprocessorOptions, readRgb } from './input.ts'

/** Options of {@link scribble}. */
export interface ScribbleOptions extends PreprocessorOptions {
  /** Strokes are where twice the difference of Gaussians exceeds this; lower gives more strokes. @default 32 */
  threshold?: number
}

/** Options of {@link softEdge}. */
export interface SoftEdgeOptions extends PreprocessorOptions {
  /** Brightness of the edges: what the difference of Gaussians is multiplied by. @default 2 */
  gain?: number
}

/** Strokes, white on black, as if scribbled by hand. Source: sd-webui-controlnet processor.py `scribble_xdog`. */
export async function scribble(image: ImageInput, options?: ScribbleOptions): Promise<Image> {
  const { threshold = 32, ...rest } = checkOptions('options', options)
  checkNumber('threshold', threshold, { min: 0, max: 512 })
  const edges = await differenceOfGaussians(await readRgb(image, rest))
  return greyImage({ ...edges, data: edges.data.map((value) => (2 * value > threshold ? 255 : 0)) })
}

/** Soft edges, white on black: the same Gaussians, where a channel differs most from its surroundings to either side, without a threshold. */
export async function softEdge(image: ImageInput, options?: SoftEdgeOptions): Promise<Image> {
  const { gain = 2, ...rest } = checkOptions('options', options)
  checkNumber('gain', gain, { min: 0, max: 255 })
  const pixels = await readRgb(image, rest)
  const { width, height } = pixels
  const planes = await differences(pixels)
  const out = blank(width, height, 1)
  await eachRow(height, (row) => {
    for (let i = row * width; i < (row + 1) * width; i += 1) {
      const most = planes.reduce((value, plane) => Math.max(value, Math.abs(plane[i] ?? 0)), 0)
      out.data[i] = Math.min(255, Math.round(gain * most))
    }
  })
  return greyImage(out)
}

/** How much darker than its surroundings a pixel is in every channel: the least of the differences. */
async function differenceOfGaussians(pixels: Pixels): Promise<Pixels> {
  const { width, height } = pixels
  const [first, ...others] = await differences(pixels)
  const out = blank(width, height, 1)
  await eachRow(height, (row) => {
    for (let i = row * width; i < (row + 1) * width; i += 1) {
      const least = others.reduce((value, other) => Math.min(value, other[i] ?? 0), first?.[i] ?? 0)
      out.data[i] = 255 - Math.trunc(Math.min(255, Math.max(0, 255 - least)))
    }
  })
  return out
}

/** For each channel a Gaussian of 5 pixels less one of 0.5. */
async function differences({ width, height, data }: Pixels): Promise<Float32Array[]> {
  const planes: Float32Array[] = []
  for (let channel = 0; channel < 3; channel += 1) {
    const plane = { width, height, data: new Float32Array(width * height) }
    await eachRow(height, (row) => {
      for (let i = row * width; i < (row + 1) * width; i += 1) {
        plane.data[i] = data[i * 3 + channel] ?? 0
      }
    })
    const near = (await gaussianPlane(plane, 0.5)).data
    const far = (await gaussianPlane(plane, 5)).data
    planes.push(far.map((value, i) => value - (near[i] ?? 0)))
  }
  return planes
}
