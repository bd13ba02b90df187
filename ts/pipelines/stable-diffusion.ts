import type { Call } from './call.ts'
import { pictureSize } from './call.ts'
import type { RunOptions, TextToImageOptions } from './generate-options.ts'
import type { Job } from './job.ts'
import { prepareLatents } from './latents.ts'
import { textToImageSchema } from './options.ts'
import type { Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import { StableDiffusionBase } from './stable-diffusion-base.ts'

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
      prepare: (call) => this.#prepare(call),
      signal: run.signal,
    })
  }

  async #prepare({ options, images, noise, scheduler }: Call<TextToImageOptions>): Promise<Prepared> {
    const factor = this.vaeScaleFactor
    const { height, width } = pictureSize(options, { unet: this.unet, factor, multiple: Math.max(8, factor) })
    const shape = [images, this.unet.config.in_channels, Math.floor(height / factor), Math.floor(width / factor)]
    const latents = prepareLatents(shape, noise, scheduler, options.latents)
    return { latents, timesteps: scheduler.timesteps, begin: 0, height, width }
  }
}
