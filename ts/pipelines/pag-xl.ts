import type { Call } from './call.ts'
import { rangeSteps } from './denoising-range.ts'
import type { RunOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Job } from './job.ts'
import {
  type PerturbedComponent,
  type PerturbedImageXLOptions,
  type PerturbedInpaintXLOptions,
  type PerturbedTextXLOptions,
  perturbedGuidance,
  perturbedImageXLSchema,
  perturbedInpaintXLSchema,
  perturbedTextXLSchema,
} from './pag-options.ts'
import type { Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'
import { imageToImageIds, type TimeIds, textToImageIds } from './time-ids.ts'

/** Components of Stable Diffusion XL with perturbed-attention guidance. */
export interface StableDiffusionXLPAGComponents extends StableDiffusionXLComponents, PerturbedComponent {}

/** Text to image with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGPipeline`. */
export class StableDiffusionXLPAGPipeline extends StableDiffusionXLBase<StableDiffusionXLPAGComponents> {
  static override readonly settings: readonly string[] = [...StableDiffusionXLBase.settings, 'pagAppliedLayers']

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: PerturbedTextXLOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<PerturbedTextXLOptions, T>(options, {
      schema: perturbedTextXLSchema,
      signal: run.signal,
      prepare: async (call) => ({ guidance: perturbedGuidance(this, call.options), ...prepareTextToImage(call, this) }),
    })
  }

  protected override timeIds({ options }: Call<PerturbedTextXLOptions>, { height, width }: Prepared): TimeIds {
    return textToImageIds(options, [height, width])
  }
}

/** Image to image with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGImg2ImgPipeline`. */
export class StableDiffusionXLPAGImg2ImgPipeline extends StableDiffusionXLBase<StableDiffusionXLPAGComponents> {
  static override readonly settings: readonly string[] = [...StableDiffusionXLBase.settings, 'pagAppliedLayers']

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: PerturbedImageXLOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<PerturbedImageXLOptions, T>(options, {
      schema: perturbedImageXLSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const guidance = perturbedGuidance(this, call.options)
        const steps = rangeSteps(call.scheduler, { ...call.options, strength: call.options.strength ?? 0.3, steps: call.steps })
        return {
          guidance,
          ...(await prepareImageToImage({ call, vae: this.vae, steps, scope, addNoise: call.options.denoisingStart === undefined })),
        }
      },
    })
  }

  protected override timeIds({ options }: Call<PerturbedImageXLOptions>, { height, width }: Prepared): TimeIds {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}

/** Inpainting with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGInpaintPipeline`. */
export class StableDiffusionXLPAGInpaintPipeline extends StableDiffusionXLBase<StableDiffusionXLPAGComponents> {
  static override readonly settings: readonly string[] = [...StableDiffusionXLBase.settings, 'pagAppliedLayers']

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: PerturbedInpaintXLOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<PerturbedInpaintXLOptions, T>(options, {
      schema: perturbedInpaintXLSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const guidance = perturbedGuidance(this, call.options)
        const steps = rangeSteps(call.scheduler, { ...call.options, strength: call.options.strength ?? 0.9999, steps: call.steps })
        return {
          guidance,
          ...(await prepareInpaint({
            call,
            unet: this.unet,
            vae: this.vae,
            steps,
            scope,
            addNoise: call.options.denoisingStart === undefined,
          })),
        }
      },
    })
  }

  protected override timeIds({ options }: Call<PerturbedInpaintXLOptions>, { height, width }: Prepared): TimeIds {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}
