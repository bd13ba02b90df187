import type { z } from 'zod'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { controlledSize } from './control-call.ts'
import {
  type ControlNetUnionComponent,
  type ControlNetUnionImageOptions,
  type ControlNetUnionInpaintOptions,
  type ControlNetUnionTextOptions,
  controlNetUnionImageSchema,
  controlNetUnionInpaintSchema,
  controlNetUnionTextSchema,
  unionControl,
  unionNets,
  unionSlot,
} from './controlnet-union-options.ts'
import type { PipelineImageInput } from './generate-options.ts'
import type { TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Prepared } from './prepared.ts'
import type { Slots } from './slot.ts'
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Components of Stable Diffusion XL with a union ControlNet. */
export interface StableDiffusionXLControlNetUnionComponents extends StableDiffusionXLComponents, ControlNetUnionComponent {}

/** Pipelines of Stable Diffusion XL with a union ControlNet. */
abstract class ControlNetUnionBase<O extends TextToImageXLOptions> extends StableDiffusionXLBase<
  StableDiffusionXLControlNetUnionComponents,
  O
> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: unionSlot }
}

/** Text to image with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionPipeline`. */
export class StableDiffusionXLControlNetUnionPipeline extends ControlNetUnionBase<ControlNetUnionTextOptions> {
  protected override readonly schema: z.ZodObject = controlNetUnionTextSchema

  protected override async prepare(call: Call<ControlNetUnionTextOptions>): Promise<Prepared> {
    const { options, signal } = call
    const control = unionControl(this.components, options)
    const at = { ...options, nets: 1, name: 'controlImage', multiple: this.vaeScaleFactor, signal }
    const size = await controlledSize(unionNets(this.components, options)[0]?.images[0] as PipelineImageInput, at)
    return { ...prepareTextToImage({ ...call, options: { ...options, ...size } }, this), control }
  }
}

/** Image to image with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionImg2ImgPipeline`. */
export class StableDiffusionXLControlNetUnionImg2ImgPipeline extends ControlNetUnionBase<ControlNetUnionImageOptions> {
  protected override readonly schema: z.ZodObject = controlNetUnionImageSchema

  protected override async prepare(call: Call<ControlNetUnionImageOptions>, scope: Scope): Promise<Prepared> {
    const control = unionControl(this.components, call.options)
    return { ...(await prepareImageToImage(call, this, scope)), control }
  }
}

/** Inpainting with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionInpaintPipeline`. */
export class StableDiffusionXLControlNetUnionInpaintPipeline extends ControlNetUnionBase<ControlNetUnionInpaintOptions> {
  protected override readonly schema: z.ZodObject = controlNetUnionInpaintSchema

  protected override async prepare(call: Call<ControlNetUnionInpaintOptions>, scope: Scope): Promise<Prepared> {
    const control = unionControl(this.components, call.options)
    return { ...(await prepareInpaint(call, this, scope)), control }
  }
}
