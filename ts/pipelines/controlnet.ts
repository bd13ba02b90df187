import type { z } from 'zod'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { type ControlNetComponent, controlNetSlot } from './control-call.ts'
import {
  type ControlNetImageOptions,
  type ControlNetInpaintOptions,
  type ControlNetTextOptions,
  controlNetImageSchema,
  controlNetInpaintSchema,
  controlNetTextSchema,
} from './controlnet-options.ts'
import { prepareControlledImage, prepareControlledInpaint, prepareControlledText } from './controlnet-start.ts'
import type { CommonOptions } from './generate-options.ts'
import type { Prepared } from './prepared.ts'
import type { Slots } from './slot.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'

/** Components of Stable Diffusion with ControlNets. */
export interface StableDiffusionControlNetComponents extends StableDiffusionComponents, ControlNetComponent {}

/** Pipelines of Stable Diffusion with ControlNets. */
abstract class ControlNetBase<O extends CommonOptions> extends StableDiffusionBase<StableDiffusionControlNetComponents, O> {
  static override readonly slots: Slots = { ...StableDiffusionBase.slots, controlnet: controlNetSlot }
}

/** Text to image that follows an image. Source: diffusers `StableDiffusionControlNetPipeline`; arXiv:2302.05543. */
export class StableDiffusionControlNetPipeline extends ControlNetBase<ControlNetTextOptions> {
  protected override readonly schema: z.ZodObject = controlNetTextSchema

  protected override prepare(call: Call<ControlNetTextOptions>): Promise<Prepared> {
    return prepareControlledText(call, this)
  }
}

/** Image to image that follows a second image. Source: diffusers `StableDiffusionControlNetImg2ImgPipeline`. */
export class StableDiffusionControlNetImg2ImgPipeline extends ControlNetBase<ControlNetImageOptions> {
  protected override readonly schema: z.ZodObject = controlNetImageSchema

  protected override prepare(call: Call<ControlNetImageOptions>, scope: Scope): Promise<Prepared> {
    return prepareControlledImage(call, this, scope)
  }
}

/** Inpainting that follows a second image. Source: diffusers `StableDiffusionControlNetInpaintPipeline`. */
export class StableDiffusionControlNetInpaintPipeline extends ControlNetBase<ControlNetInpaintOptions> {
  protected override readonly schema: z.ZodObject = controlNetInpaintSchema

  protected override prepare(call: Call<ControlNetInpaintOptions>, scope: Scope): Promise<Prepared> {
    return prepareControlledInpaint(call, this, scope)
  }
}
