import { type ControlNetComponent, controlConditions, controlledSize, controlNetSlot, netsOf } from './control-call.ts'
import {
  type ControlNetImageOptions,
  type ControlNetInpaintOptions,
  type ControlNetTextOptions,
  controlNetImageSchema,
  controlNetInpaintSchema,
  controlNetTextSchema,
} from './controlnet-options.ts'
import type { RunOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Job } from './job.ts'
import { strengthSteps } from './latents.ts'
import type { Slots } from './load.ts'
import type { Results } from './result.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Components of Stable Diffusion with ControlNets. */
export interface StableDiffusionControlNetComponents extends StableDiffusionComponents, ControlNetComponent {}

/** Text to image that follows an image. Source: diffusers `StableDiffusionControlNetPipeline`; arXiv:2302.05543. */
export class StableDiffusionControlNetPipeline extends StableDiffusionBase<StableDiffusionControlNetComponents> {
  static override readonly slots: Slots = { ...StableDiffusionBase.slots, controlnet: controlNetSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: ControlNetTextOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<ControlNetTextOptions, T>(options, {
      schema: controlNetTextSchema,
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
}

/** Image to image that follows a second image. Source: diffusers `StableDiffusionControlNetImg2ImgPipeline`. */
export class StableDiffusionControlNetImg2ImgPipeline extends StableDiffusionBase<StableDiffusionControlNetComponents> {
  static override readonly slots: Slots = { ...StableDiffusionBase.slots, controlnet: controlNetSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: ControlNetImageOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<ControlNetImageOptions, T>(options, {
      schema: controlNetImageSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const { options } = call
        const control = controlConditions(this.components, options.controlImage, options, 'controlImage')
        const steps = strengthSteps(call.scheduler, call.steps, options.strength ?? 0.8)
        return { ...(await prepareImageToImage({ call, vae: this.vae, steps, scope })), control }
      },
    })
  }
}

/** Inpainting that follows a second image. Source: diffusers `StableDiffusionControlNetInpaintPipeline`. */
export class StableDiffusionControlNetInpaintPipeline extends StableDiffusionBase<StableDiffusionControlNetComponents> {
  static override readonly slots: Slots = { ...StableDiffusionBase.slots, controlnet: controlNetSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: ControlNetInpaintOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<ControlNetInpaintOptions, T>(options, {
      schema: controlNetInpaintSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const { options } = call
        const control = controlConditions(this.components, options.controlImage, options, 'controlImage')
        const steps = strengthSteps(call.scheduler, call.steps, options.strength ?? 1)
        return { ...(await prepareInpaint({ call, unet: this.unet, vae: this.vae, steps, scope })), control }
      },
    })
  }
}
