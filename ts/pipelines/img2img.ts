import type { ImageToImageOptions, RunOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import type { Job } from './job.ts'
import { strengthSteps } from './latents.ts'
import { imageToImageSchema } from './options.ts'
import type { Results } from './result.ts'
import { StableDiffusionBase } from './stable-diffusion-base.ts'

/**
 * Image to image with Stable Diffusion 1.x and 2.x: noise is added to the picture, and the last part of the steps runs.
 *
 * The result has the picture's size, down to a multiple of 8. Source: diffusers `StableDiffusionImg2ImgPipeline`.
 */
export class StableDiffusionImg2ImgPipeline extends StableDiffusionBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: ImageToImageOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<ImageToImageOptions, T>(options, {
      schema: imageToImageSchema,
      signal: run.signal,
      prepare: (call, scope) => {
        const steps = strengthSteps(call.scheduler, call.steps, call.options.strength ?? 0.8)
        return prepareImageToImage({ call, vae: this.vae, steps, scope })
      },
    })
  }
}
