import type { z } from 'zod'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import type { ImageToImageOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { imageToImageSchema } from './options.ts'
import type { Prepared } from './prepared.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'

/**
 * Image to image with Stable Diffusion 1.x and 2.x: noise is added to the picture, and the last part of the steps runs.
 *
 * The result has the picture's size, down to a multiple of 8. Source: diffusers `StableDiffusionImg2ImgPipeline`.
 */
export class StableDiffusionImg2ImgPipeline extends StableDiffusionBase<StableDiffusionComponents, ImageToImageOptions> {
  protected override readonly schema: z.ZodObject = imageToImageSchema

  protected override prepare(call: Call<ImageToImageOptions>, scope: Scope): Promise<Prepared> {
    return prepareImageToImage(call, this, scope)
  }
}
