import type { InpaintOptions, RunOptions } from './generate-options.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Job } from './job.ts'
import { strengthSteps } from './latents.ts'
import { inpaintSchema } from './options.ts'
import type { Results } from './result.ts'
import { StableDiffusionBase } from './stable-diffusion-base.ts'

/**
 * Repaints the white part of a mask with Stable Diffusion 1.x and 2.x.
 *
 * A UNet of 4 input channels gets the kept part blended back in after every step; one of 9 gets mask and masked picture as further
 * channels. Source: diffusers `StableDiffusionInpaintPipeline`.
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: InpaintOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<InpaintOptions, T>(options, {
      schema: inpaintSchema,
      signal: run.signal,
      prepare: (call, scope) => {
        const steps = strengthSteps(call.scheduler, call.steps, call.options.strength ?? 1)
        return prepareInpaint({ call, unet: this.unet, vae: this.vae, steps, scope })
      },
    })
  }
}
