import type { RunOptions, TextToImageOptions } from './generate-options.ts'
import type { Job } from './job.ts'
import { textToImageSchema } from './options.ts'
import type { Results } from './result.ts'
import { StableDiffusionBase } from './stable-diffusion-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/**
 * Text to image with Stable Diffusion 1.x and 2.x. Source: diffusers `StableDiffusionPipeline`.
 *
 * ```ts
 * await using pipe = await StableDiffusionPipeline.fromPretrained()
 * const { images } = await pipe.generate({ prompt: 'a red circle on a blue background', seed: 7 })
 * ```
 */
export class StableDiffusionPipeline extends StableDiffusionBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: TextToImageOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<TextToImageOptions, T>(options, {
      schema: textToImageSchema,
      prepare: async (call) => prepareTextToImage(call, this),
      signal: run.signal,
    })
  }
}
