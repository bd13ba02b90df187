import type { Call } from './call.ts'
import { type ControlNetComponent, controlConditions, controlledSize, controlNetSlot, netsOf } from './control-call.ts'
import {
  type ControlNetImageXLOptions,
  type ControlNetInpaintXLOptions,
  type ControlNetTextXLOptions,
  controlNetImageXLSchema,
  controlNetInpaintXLSchema,
  controlNetTextXLSchema,
} from './controlnet-options.ts'
import { rangeSteps } from './denoising-range.ts'
import type { RunOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Job } from './job.ts'
import type { Slots } from './load.ts'
import type { Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'
import { imageToImageIds, type TimeIds, textToImageIds } from './time-ids.ts'

/** Components of Stable Diffusion XL with ControlNets. */
export interface StableDiffusionXLControlNetComponents extends StableDiffusionXLComponents, ControlNetComponent {}

/** Text to image with SDXL that follows an image. Source: diffusers `StableDiffusionXLControlNetPipeline`. */
export class StableDiffusionXLControlNetPipeline extends StableDiffusionXLBase<StableDiffusionXLControlNetComponents> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: controlNetSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: ControlNetTextXLOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<ControlNetTextXLOptions, T>(options, {
      schema: controlNetTextXLSchema,
      signal: run.signal,
      prepare: async (call) => {
        const { options, signal } = call
        const { controlnet } = this.components
        const control = controlConditions(this.components, options.image, options)
        const at = { ...options, nets: netsOf(controlnet).length, name: 'image', multiple: this.vaeScaleFactor, signal }
        const size = await controlledSize(options.image, at)
        return { ...prepareTextToImage({ ...call, options: { ...options, ...size } }, this), control }
      },
    })
  }

  protected override timeIds({ options }: Call<ControlNetTextXLOptions>, { height, width }: Prepared): TimeIds {
    return textToImageIds(options, [height, width])
  }
}

/** Image to image with SDXL that follows a second image. Source: diffusers `StableDiffusionXLControlNetImg2ImgPipeline`. */
export class StableDiffusionXLControlNetImg2ImgPipeline extends StableDiffusionXLBase<StableDiffusionXLControlNetComponents> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: controlNetSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: ControlNetImageXLOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<ControlNetImageXLOptions, T>(options, {
      schema: controlNetImageXLSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const { options } = call
        const control = controlConditions(this.components, options.controlImage, options, 'controlImage')
        const steps = rangeSteps(call.scheduler, { ...options, strength: options.strength ?? 0.8, steps: call.steps })
        return {
          ...(await prepareImageToImage({ call, vae: this.vae, steps, scope, addNoise: options.denoisingStart === undefined })),
          control,
        }
      },
    })
  }

  protected override timeIds({ options }: Call<ControlNetImageXLOptions>, { height, width }: Prepared): TimeIds {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}

/** Inpainting with SDXL that follows a second image. Source: diffusers `StableDiffusionXLControlNetInpaintPipeline`. */
export class StableDiffusionXLControlNetInpaintPipeline extends StableDiffusionXLBase<StableDiffusionXLControlNetComponents> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: controlNetSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: ControlNetInpaintXLOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<ControlNetInpaintXLOptions, T>(options, {
      schema: controlNetInpaintXLSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const { options } = call
        const control = controlConditions(this.components, options.controlImage, options, 'controlImage')
        const steps = rangeSteps(call.scheduler, { ...options, strength: options.strength ?? 0.9999, steps: call.steps })
        return {
          ...(await prepareInpaint({ call, unet: this.unet, vae: this.vae, steps, scope, addNoise: options.denoisingStart === undefined })),
          control,
        }
      },
    })
  }

  protected override timeIds({ options }: Call<ControlNetInpaintXLOptions>, { height, width }: Prepared): TimeIds {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}
