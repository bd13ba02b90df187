import { setImmediate } from 'node:timers/promises'
import { expected } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import { Image } from './image.ts'
import type { GenerationParameters } from './metadata/parameters.ts'

/** Options of {@link toImages}. */
export type ToImagesOptions = {
  /** Map -1..1 to 0..1 first, as a VAE's output needs. @default true */
  denormalize?: boolean
  /** What each picture was made with, in the order of the batch. */
  parameters?: readonly GenerationParameters[]
}

const { fround } = Math

/** Pixels that are converted in one go: a few milliseconds. */
const pixelsPerSlice = 1 << 16

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
  using flat = tensor.reshape([batch, channels, height, width])
  const images: Image[] = []
  for (let i = 0; i < batch; i += 1) {
    using one = flat.slice(0, i, i + 1)
    using values = one.to({ dtype: 'f32', device: 'cpu' })
    const data = await bytesOf(values.toArray() as Float32Array, channels, denormalize)
    const made = parameters[i]
    const seed = made?.seed === undefined ? {} : { seed: made.seed }
    images.push(new Image({ width, height, data, ...seed, ...(made === undefined ? {} : { parameters: made }) }))
  }
  return images
}

/** RGB bytes of one picture's planes, converted in slices, so that the event loop is never held up. */
async function bytesOf(values: Float32Array, channels: number, denormalize: boolean): Promise<Uint8Array> {
  const plane = values.length / channels
  const [green, blue] = channels === 1 ? [0, 0] : [plane, 2 * plane]
  const [factor, offset] = denormalize ? [0.5, 0.5] : [1, 0]
  const level = (value = 0): number => fround(fround(fround(value * factor) + offset) * 255)
  const data = new Uint8ClampedArray(plane * 3) // its conversion rounds half to even
  for (let start = 0; start < plane; start += pixelsPerSlice) {
    await setImmediate()
    const end = Math.min(plane, start + pixelsPerSlice)
    for (let i = start, to = start * 3; i < end; i += 1, to += 3) {
      data[to] = level(values[i])
      data[to + 1] = level(values[i + green])
      data[to + 2] = level(values[i + blue])
    }
  }
  return new Uint8Array(data.buffer)
}
