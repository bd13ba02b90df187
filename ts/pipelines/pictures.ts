import { expected } from '../errors.ts'
import { type ImageInput, loadImage } from '../image/load-image.ts'
import type { RgbaImage } from '../image/pixels.ts'
import { Tensor } from '../tensor.ts'
import type { PipelineImageInput } from './generate-options.ts'

/** Reads the pictures of an option, so that a bad one is found before any model runs; a Tensor comes back unchanged. */
export async function loadPictures(
  input: PipelineImageInput,
  { name, signal }: { name: string; signal?: AbortSignal },
): Promise<Tensor | RgbaImage[]> {
  if (input instanceof Tensor) {
    if (input.shape.length !== 3 && input.shape.length !== 4) {
      throw expected('a Tensor of shape (images, channels, height, width) or (channels, height, width)', name, input)
    }
    return input
  }
  const list = Array.isArray(input) ? (input as readonly ImageInput[]) : [input as ImageInput]
  if (list.length === 0) {
    throw expected('at least one image', name, input)
  }
  return Promise.all(list.map((item, i) => loadImage(item, { name: list.length === 1 ? name : `${name}[${i}]`, signal })))
}

/** Width and height of pictures that were read; undefined for latents, which have `latentChannels` channels. */
export function pixelSize(pictures: Tensor | RgbaImage[], latentChannels: number): { width: number; height: number } | undefined {
  if (!(pictures instanceof Tensor)) {
    return pictures[0]
  }
  const [channels, height = 0, width = 0] = pictures.shape.slice(-3)
  return channels === latentChannels ? undefined : { width, height }
}
