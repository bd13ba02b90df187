import { expected } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import { Image, interleave } from './image.ts'
import type { GenerationParameters } from './metadata/parameters.ts'

/** Options of {@link toImages}. */
export type ToImagesOptions = {
  /** Map -1..1 to 0..1 first, as a VAE's output needs. @default true */
  denormalize?: boolean
  /** What each picture was made with, in the order of the batch. */
  parameters?: readonly GenerationParameters[]
}

const { fround } = Math

/**
 * Turns what a VAE decoded, a tensor (B, 3, H, W) or (3, H, W) with values from -1 to 1, into pictures.
 *
 * Rounds as diffusers does: `round(clamp(x / 2 + 0.5, 0, 1) * 255)` in f32, half to even. Source: diffusers image_processor.py `postprocess`.
 */
export async function toImages(tensor: Tensor, { denormalize = true, parameters = [] }: ToImagesOptions = {}): Promise<Image[]> {
  if (!(tensor instanceof Tensor)) {
    throw expected('a Tensor of shape (B, 3, H, W)', 'tensor', tensor)
  }
  const [batch, channels, height, width] = tensor.shape.length === 3 ? [1, ...tensor.shape] : tensor.shape
  if (tensor.shape.length > 4 || batch === undefined || (channels !== 1 && channels !== 3) || height === undefined || width === undefined) {
    throw expected('a Tensor of shape (B, 3, H, W)', 'tensor', tensor)
  }
  const values = tensor.to({ dtype: 'f32', device: 'cpu' }).toArray() as Float32Array
  const plane = height * width
  const scale = denormalize ? (x: number) => fround(fround(fround(x * 0.5) + 0.5) * 255) : (x: number) => fround(x * 255)
  return Array.from({ length: batch }, (_, i) => {
    const made = parameters[i]
    const data = interleave(values, channels, plane, scale, i * channels * plane)
    const seed = made?.seed === undefined ? {} : { seed: made.seed }
    return new Image({ width, height, data, ...seed, ...(made === undefined ? {} : { parameters: made }) })
  })
}
