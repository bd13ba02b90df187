import type { z } from 'zod'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { type ControlNetComponent, controlNetSlot } from './control-call.ts'
import {
  type ControlNetImageXLOptions,
  type ControlNetInpaintXLOptions,
  type ControlNetTextXLOptions,
  controlNetImageXLSchema,
  controlNetInpaintXLSchema,
  controlNetTextXLSchema,
} from './controlnet-options.ts'
import { prepareControlledImage, prepareControlledInpaint, prepareControlledText } from './controlnet-start.ts'
import type { TextToImageXLOptions } from './generate-options-xl.ts'
import type { Prepared } from './prepared.ts'
import type { Slots } from './slot.ts'
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'

/** Components of Stable Diffusion XL with ControlNets. */
export interface StableDiffusionXLControlNetComponents extends StableDiffusionXLComponents, ControlNetComponent {}

/** Pipelines of Stable Diffusion XL with ControlNets. */
abstract class ControlNetXLBase<O extends TextToImageXLOptions> extends StableDiffusionXLBase<StableDiffusionXLControlNetComponents, O> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: controlNetSlot }
}

/** Text to image with SDXL that follows an image. Source: diffusers `StableDiffusionXLControlNetPipeline`. */
export class StableDiffusionXLControlNetPipeline extends ControlNetXLBase<ControlNetTextXLOptions> {
  protected override readonly schema: z.ZodObject = controlNetTextXLSchema

  protected override prepare(call: Call<ControlNetTextXLOptions>): Promise<Prepared> {
    return prepareControlledText(call, this)
  }
}

/** Image to image with SDXL that follows a second image. Source: diffusers `StableDiffusionXLControlNetImg2ImgPipeline`. */
export class StableDiffusionXLControlNetImg2ImgPipeline extends ControlNetXLBase<ControlNetImageXLOptions> {
  protected override readonly schema: z.ZodObject = controlNetImageXLSchema

  protected override prepare(call: Call<ControlNetImageXLOptions>, scope: Scope): Promise<Prepared> {
    return prepareControlledImage(call, this, scope)
  }
}

/** Inpainting with SDXL that follows a second image. Source: diffusers `StableDiffusionXLControlNetInpaintPipeline`. */
export class StableDiffusionXLControlNetInpaintPipeline extends ControlNetXLBase<ControlNetInpaintXLOptions> {
  protected override readonly schema: z.ZodObject = controlNetInpaintXLSchema

  protected override prepare(call: Call<ControlNetInpaintXLOptions>, scope: Scope): Promise<Prepared> {
    return prepareControlledInpaint(call, this, scope)
  }
}
