import type { z } from 'zod'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import type { TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
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
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Components of Stable Diffusion XL with perturbed-attention guidance. */
export interface StableDiffusionXLPAGComponents extends StableDiffusionXLComponents, PerturbedComponent {}

/** Pipelines of Stable Diffusion XL with perturbed-attention guidance. */
abstract class PerturbedXLBase<O extends TextToImageXLOptions> extends StableDiffusionXLBase<StableDiffusionXLPAGComponents, O> {
  static override readonly settings: readonly string[] = [...StableDiffusionXLBase.settings, 'pagAppliedLayers']
}

/** Text to image with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGPipeline`. */
export class StableDiffusionXLPAGPipeline extends PerturbedXLBase<PerturbedTextXLOptions> {
  protected override readonly schema: z.ZodObject = perturbedTextXLSchema

  protected override async prepare(call: Call<PerturbedTextXLOptions>): Promise<Prepared> {
    return { guidance: perturbedGuidance(this, call.options), ...prepareTextToImage(call, this) }
  }
}

/** Image to image with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGImg2ImgPipeline`. */
export class StableDiffusionXLPAGImg2ImgPipeline extends PerturbedXLBase<PerturbedImageXLOptions> {
  protected override readonly schema: z.ZodObject = perturbedImageXLSchema

  protected override async prepare(call: Call<PerturbedImageXLOptions>, scope: Scope): Promise<Prepared> {
    return { guidance: perturbedGuidance(this, call.options), ...(await prepareImageToImage(call, this, scope)) }
  }
}

/** Inpainting with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGInpaintPipeline`. */
export class StableDiffusionXLPAGInpaintPipeline extends PerturbedXLBase<PerturbedInpaintXLOptions> {
  protected override readonly schema: z.ZodObject = perturbedInpaintXLSchema

  protected override async prepare(call: Call<PerturbedInpaintXLOptions>, scope: Scope): Promise<Prepared> {
    return { guidance: perturbedGuidance(this, call.options), ...(await prepareInpaint(call, this, scope)) }
  }
}
