import { expected } from '../errors.ts'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import type { ConditionCall } from './condition.ts'
import type { PipelineImageInput } from './generate-options.ts'
import { loadPictures } from './pictures.ts'

/** What a network wants of its control images. */
export interface ControlImageKind {
  /** Name of the option, for errors. */
  name: string
  channels: number
  /** Sides are multiples of this. */
  multiple: number
}

/**
 * Control images of a call at the size of its pictures, values 0 to 1: (images, channels, height, width). One picture serves all images, else
 * there is one for each prompt.
 *
 * Source: diffusers `StableDiffusionControlNetPipeline.prepare_image`.
 */
export async function controlImages(
  image: PipelineImageInput,
  { name, channels, multiple }: ControlImageKind,
  { images, imagesPerPrompt, height, width, cropped, signal }: ConditionCall,
  scope: Scope,
): Promise<Tensor> {
  if (image === undefined || image === null) {
    throw expected('an image', name, image)
  }
  const pictures = await loadPictures(image, { name, signal })
  const processor = new VaeImageProcessor({
    vaeScaleFactor: multiple,
    vaeLatentChannels: Number.MAX_SAFE_INTEGER,
    doNormalize: false,
    doConvertGrayscale: channels === 1,
  })
  const pixels = scope.keep(await processor.preprocess(pictures, { name, height, width, ...cropped }))
  const [given = 0, found] = pixels.shape
  if (found !== channels) {
    throw expected(`images of ${channels} channels`, name, pixels)
  }
  if (given === 1) {
    return scope.keep(pixels.repeatInterleave(images, 0))
  }
  if (given * imagesPerPrompt !== images) {
    throw expected(`one image, or one for each of ${images / imagesPerPrompt} prompts`, name, `${given} images`)
  }
  return scope.keep(pixels.repeatInterleave(imagesPerPrompt, 0))
}

/** Size of the first control image, for a call that names none; a multiple of `multiple`. */
export async function controlImageSize(
  image: PipelineImageInput,
  { name, multiple, signal }: { name: string; multiple: number; signal?: AbortSignal },
): Promise<{ height: number; width: number }> {
  if (image === undefined || image === null) {
    throw expected('an image', name, image)
  }
  const pictures = await loadPictures(image, { name, signal })
  const [height = 0, width = 0] = Array.isArray(pictures) ? [pictures[0]?.height, pictures[0]?.width] : (pictures as Tensor).shape.slice(-2)
  return { height: height - (height % multiple), width: width - (width % multiple) }
}
