import type { z } from 'zod'
import { expected } from '../errors.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import { imageToImageXLSchema, inpaintXLSchema, textToImageXLSchema } from './options-xl.ts'
import type { Prepared } from './prepared.ts'
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Text to image with Stable Diffusion XL. Source: diffusers `StableDiffusionXLPipeline`. */
export class StableDiffusionXLPipeline extends StableDiffusionXLBase<StableDiffusionXLComponents, TextToImageXLOptions> {
  protected override readonly schema: z.ZodObject = textToImageXLSchema

  protected override async prepare(call: Call<TextToImageXLOptions>): Promise<Prepared> {
    return prepareTextToImage(call, this)
  }
}

/** Image to image with Stable Diffusion XL, and its refiner. Source: diffusers `StableDiffusionXLImg2ImgPipeline`. */
export class StableDiffusionXLImg2ImgPipeline extends StableDiffusionXLBase<StableDiffusionXLComponents, ImageToImageXLOptions> {
  protected override readonly schema: z.ZodObject = imageToImageXLSchema

  protected override async prepare(call: Call<ImageToImageXLOptions>, scope: Scope): Promise<Prepared> {
    const { denoisingStart, image } = call.options
    if (denoisingStart !== undefined && !(image instanceof Tensor)) {
      throw expected('latents of the first model beside denoisingStart', 'image', image)
    }
    return prepareImageToImage(call, this, scope)
  }
}

/** Inpainting with Stable Diffusion XL. Source: diffusers `StableDiffusionXLInpaintPipeline`. */
export class StableDiffusionXLInpaintPipeline extends StableDiffusionXLBase<StableDiffusionXLComponents, InpaintXLOptions> {
  protected override readonly schema: z.ZodObject = inpaintXLSchema

  protected override prepare(call: Call<InpaintXLOptions>, scope: Scope): Promise<Prepared> {
    return prepareInpaint(call, this, scope)
  }
}
