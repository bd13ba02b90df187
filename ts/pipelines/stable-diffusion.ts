import type { z } from 'zod'
import type { Call } from './call.ts'
import type { TextToImageOptions } from './generate-options.ts'
import { textToImageSchema } from './options.ts'
import type { Prepared } from './prepared.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/**
 * Text to image with Stable Diffusion 1.x and 2.x. Source: diffusers `StableDiffusionPipeline`.
 *
 * ```ts
 * await using pipe = await StableDiffusionPipeline.fromPretrained()
 * const { images } = await pipe.generate({ prompt: 'a red circle on a blue background', seed: 7 })
 * ```
 */
export class StableDiffusionPipeline extends StableDiffusionBase<StableDiffusionComponents, TextToImageOptions> {
  protected override readonly schema: z.ZodObject = textToImageSchema

  protected override async prepare(call: Call<TextToImageOptions>): Promise<Prepared> {
    return prepareTextToImage(call, this)
  }
}
