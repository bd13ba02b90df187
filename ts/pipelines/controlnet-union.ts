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
  unionImages,
  unionSlot,
} from './controlnet-union-options.ts'
import { rangeSteps } from './denoising-range.ts'
import type { PipelineImageInput, RunOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Job } from './job.ts'
import type { Slots } from './load.ts'
import type { Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'
import { imageToImageIds, type TimeIds, textToImageIds } from './time-ids.ts'

/** Components of Stable Diffusion XL with a union ControlNet. */
export interface StableDiffusionXLControlNetUnionComponents extends StableDiffusionXLComponents, ControlNetUnionComponent {}

/** Text to image with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionPipeline`. */
export class StableDiffusionXLControlNetUnionPipeline extends StableDiffusionXLBase<StableDiffusionXLControlNetUnionComponents> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: unionSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: ControlNetUnionTextOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<ControlNetUnionTextOptions, T>(options, {
      schema: controlNetUnionTextSchema,
      signal: run.signal,
      prepare: async (call) => {
        const { options, signal } = call
        const control = unionControl(this.components, options)
        const at = { ...options, nets: 1, name: 'controlImage', multiple: this.vaeScaleFactor, signal }
        const size = await controlledSize(unionImages(options)[0] as PipelineImageInput, at)
        return { ...prepareTextToImage({ ...call, options: { ...options, ...size } }, this), control }
      },
    })
  }

  protected override timeIds({ options }: Call<ControlNetUnionTextOptions>, { height, width }: Prepared): TimeIds {
    return textToImageIds(options, [height, width])
  }
}

/** Image to image with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionImg2ImgPipeline`. */
export class StableDiffusionXLControlNetUnionImg2ImgPipeline extends StableDiffusionXLBase<StableDiffusionXLControlNetUnionComponents> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: unionSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: ControlNetUnionImageOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<ControlNetUnionImageOptions, T>(options, {
      schema: controlNetUnionImageSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const { options } = call
        const control = unionControl(this.components, options)
        const steps = rangeSteps(call.scheduler, { ...options, strength: options.strength ?? 0.8, steps: call.steps })
        return {
          ...(await prepareImageToImage({ call, vae: this.vae, steps, scope, addNoise: options.denoisingStart === undefined })),
          control,
        }
      },
    })
  }

  protected override timeIds({ options }: Call<ControlNetUnionImageOptions>, { height, width }: Prepared): TimeIds {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}

/** Inpainting with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionInpaintPipeline`. */
export class StableDiffusionXLControlNetUnionInpaintPipeline extends StableDiffusionXLBase<StableDiffusionXLControlNetUnionComponents> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, controlnet: unionSlot }

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: ControlNetUnionInpaintOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<ControlNetUnionInpaintOptions, T>(options, {
      schema: controlNetUnionInpaintSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const { options } = call
        const control = unionControl(this.components, options)
        const steps = rangeSteps(call.scheduler, { ...options, strength: options.strength ?? 0.9999, steps: call.steps })
        return {
          ...(await prepareInpaint({ call, unet: this.unet, vae: this.vae, steps, scope, addNoise: options.denoisingStart === undefined })),
          control,
        }
      },
    })
  }

  protected override timeIds({ options }: Call<ControlNetUnionInpaintOptions>, { height, width }: Prepared): TimeIds {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}
