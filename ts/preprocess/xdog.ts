import { checkNumber, checkOptions } from '../checks.ts'
import type { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import { blank, type Pixels } from '../image/pixels.ts'
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

/** Soft edges, white on black: the same difference of Gaussians without a threshold. */
export async function softEdge(image: ImageInput, options?: SoftEdgeOptions): Promise<Image> {
  const { gain = 2, ...rest } = checkOptions('options', options)
  checkNumber('gain', gain, { min: 0, max: 255 })
  const edges = await differenceOfGaussians(await readRgb(image, rest))
  return greyImage({ ...edges, data: edges.data.map((value) => Math.min(255, Math.round(gain * value))) })
}

/** How much darker a pixel is than its surroundings, in the channel where that is most: Gaussians of 0.5 and 5 pixels. */
async function differenceOfGaussians({ width, height, data }: Pixels): Promise<Pixels> {
  const least = new Float32Array(width * height).fill(Number.POSITIVE_INFINITY)
  for (let channel = 0; channel < 3; channel += 1) {
    const plane = { width, height, data: Float32Array.from({ length: width * height }, (_, i) => data[i * 3 + channel] ?? 0) }
    const near = (await gaussianPlane(plane, 0.5)).data
    const far = (await gaussianPlane(plane, 5)).data
    for (let i = 0; i < least.length; i += 1) {
      least[i] = Math.min(least[i] ?? 0, (far[i] ?? 0) - (near[i] ?? 0))
    }
  }
  const out = blank(width, height, 1)
  for (let i = 0; i < least.length; i += 1) {
    out.data[i] = 255 - Math.trunc(Math.min(255, Math.max(0, 255 - (least[i] ?? 0))))
  }
  return out
}
