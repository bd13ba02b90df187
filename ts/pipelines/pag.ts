import type { z } from 'zod'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import type { CommonOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
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
import type { Prepared } from './prepared.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Components of Stable Diffusion with perturbed-attention guidance. */
export interface StableDiffusionPAGComponents extends StableDiffusionComponents, PerturbedComponent {}

/** Pipelines of Stable Diffusion with perturbed-attention guidance. */
abstract class PerturbedBase<O extends CommonOptions> extends StableDiffusionBase<StableDiffusionPAGComponents, O> {
  static override readonly settings: readonly string[] = [...StableDiffusionBase.settings, 'pagAppliedLayers']
}

/** Text to image with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGPipeline`; arXiv:2403.17377. */
export class StableDiffusionPAGPipeline extends PerturbedBase<PerturbedTextOptions> {
  protected override readonly schema: z.ZodObject = perturbedTextSchema

  protected override async prepare(call: Call<PerturbedTextOptions>): Promise<Prepared> {
    return { guidance: perturbedGuidance(this, call.options), ...prepareTextToImage(call, this) }
  }
}

/** Image to image with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGImg2ImgPipeline`. */
export class StableDiffusionPAGImg2ImgPipeline extends PerturbedBase<PerturbedImageOptions> {
  protected override readonly schema: z.ZodObject = perturbedImageSchema

  protected override async prepare(call: Call<PerturbedImageOptions>, scope: Scope): Promise<Prepared> {
    return { guidance: perturbedGuidance(this, call.options), ...(await prepareImageToImage(call, this, scope)) }
  }
}

/** Inpainting with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGInpaintPipeline`. */
export class StableDiffusionPAGInpaintPipeline extends PerturbedBase<PerturbedInpaintOptions> {
  protected override readonly schema: z.ZodObject = perturbedInpaintSchema

  protected override async prepare(call: Call<PerturbedInpaintOptions>, scope: Scope): Promise<Prepared> {
    return { guidance: perturbedGuidance(this, call.options), ...(await prepareInpaint(call, this, scope)) }
  }
}
