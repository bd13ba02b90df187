import type { z } from 'zod'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import type { InpaintOptions } from './generate-options.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import { inpaintSchema } from './options.ts'
import type { Prepared } from './prepared.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'

/**
 * Repaints the white part of a mask with Stable Diffusion 1.x and 2.x.
 *
 * A UNet of 4 input channels gets the kept part blended back in after every step; one of 9 gets mask and masked picture as further
 * channels. Source: diffusers `StableDiffusionInpaintPipeline`.
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionBase<StableDiffusionComponents, InpaintOptions> {
  protected override readonly schema: z.ZodObject = inpaintSchema

  protected override prepare(call: Call<InpaintOptions>, scope: Scope): Promise<Prepared> {
    return prepareInpaint(call, this, scope)
  }
}
