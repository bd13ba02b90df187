import type { RunOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Job } from './job.ts'
import { strengthSteps } from './latents.ts'
import {
  type PerturbedComponent,
  type PerturbedImageOptions,
  type PerturbedInpaintOptions,
  type PerturbedTextOptions,
  perturbedGuidance,
  perturbedImageSchema,
  perturbedInpaintSchema,
  perturbedTextSchema,
} from './pag-options.ts'
import type { Results } from './result.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Components of Stable Diffusion with perturbed-attention guidance. */
export interface StableDiffusionPAGComponents extends StableDiffusionComponents, PerturbedComponent {}

/** Text to image with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGPipeline`; arXiv:2403.17377. */
export class StableDiffusionPAGPipeline extends StableDiffusionBase<StableDiffusionPAGComponents> {
  static override readonly settings: readonly string[] = [...StableDiffusionBase.settings, 'pagAppliedLayers']

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: PerturbedTextOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<PerturbedTextOptions, T>(options, {
      schema: perturbedTextSchema,
      signal: run.signal,
      prepare: async (call) => ({ guidance: perturbedGuidance(this, call.options), ...prepareTextToImage(call, this) }),
    })
  }
}

/** Image to image with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGImg2ImgPipeline`. */
export class StableDiffusionPAGImg2ImgPipeline extends StableDiffusionBase<StableDiffusionPAGComponents> {
  static override readonly settings: readonly string[] = [...StableDiffusionBase.settings, 'pagAppliedLayers']

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: PerturbedImageOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<PerturbedImageOptions, T>(options, {
      schema: perturbedImageSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const guidance = perturbedGuidance(this, call.options)
        const steps = strengthSteps(call.scheduler, call.steps, call.options.strength ?? 0.8)
        return { guidance, ...(await prepareImageToImage({ call, vae: this.vae, steps, scope })) }
      },
    })
  }
}

/** Inpainting with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGInpaintPipeline`. */
export class StableDiffusionPAGInpaintPipeline extends StableDiffusionBase<StableDiffusionPAGComponents> {
  static override readonly settings: readonly string[] = [...StableDiffusionBase.settings, 'pagAppliedLayers']

  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(
    options: PerturbedInpaintOptions & { outputType?: T },
    run: RunOptions = {},
  ): Job<Results[T]> {
    return this.start<PerturbedInpaintOptions, T>(options, {
      schema: perturbedInpaintSchema,
      signal: run.signal,
      prepare: async (call, scope) => {
        const guidance = perturbedGuidance(this, call.options)
        const steps = strengthSteps(call.scheduler, call.steps, call.options.strength ?? 1)
        return { guidance, ...(await prepareInpaint({ call, unet: this.unet, vae: this.vae, steps, scope })) }
      },
    })
  }
}
