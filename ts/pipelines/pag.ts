import type { CommonOptions } from './generate-options.ts'
import { type PerturbedComponent, type PerturbedSettings, perturbedGuidance, perturbedShape } from './pag-options.ts'
import { type StableDiffusionComponents, stableDiffusion } from './stable-diffusion-base.ts'
import { type StableDiffusionXLComponents, stableDiffusionXL } from './stable-diffusion-xl-base.ts'
import type { Schema, Task, TaskHost } from './task.ts'
import { imageToImage, inpainting, textToImage } from './tasks.ts'

/** Components of Stable Diffusion with perturbed-attention guidance. */
export interface StableDiffusionPAGComponents extends StableDiffusionComponents, PerturbedComponent {}

/** Components of Stable Diffusion XL with perturbed-attention guidance. */
export interface StableDiffusionXLPAGComponents extends StableDiffusionXLComponents, PerturbedComponent {}

/** A task with perturbed-attention guidance, unless the call brings a guidance of its own: adds the options `pagScale` and `pagAdaptiveScale`. */
export function perturbed<S extends CommonOptions, X extends CommonOptions, C>(
  task: Task<{ sd: S; sdxl: X }, TaskHost<C>>,
): Task<{ sd: S & PerturbedSettings; sdxl: X & PerturbedSettings }, TaskHost<C & PerturbedComponent>> {
  return {
    ...task,
    options: { sd: withScale(task.options.sd), sdxl: withScale(task.options.sdxl) },
    settings: [...(task.settings ?? []), 'pagAppliedLayers'],
    begin: async (call, pipe, scope) => ({ guidance: perturbedGuidance(pipe, call.options), ...(await task.begin(call, pipe, scope)) }),
  }
}

function withScale<O>(schema: Schema<O>): Schema<O & PerturbedSettings> {
  return schema.extend(perturbedShape) as unknown as Schema<O & PerturbedSettings>
}

/** Text to image with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGPipeline`; arXiv:2403.17377. */
export class StableDiffusionPAGPipeline extends stableDiffusion(perturbed(textToImage)) {}

/** Image to image with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGImg2ImgPipeline`. */
export class StableDiffusionPAGImg2ImgPipeline extends stableDiffusion(perturbed(imageToImage)) {}

/** Inpainting with perturbed-attention guidance. Source: diffusers `StableDiffusionPAGInpaintPipeline`. */
export class StableDiffusionPAGInpaintPipeline extends stableDiffusion(perturbed(inpainting)) {}

/** Text to image with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGPipeline`. */
export class StableDiffusionXLPAGPipeline extends stableDiffusionXL(perturbed(textToImage)) {}

/** Image to image with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGImg2ImgPipeline`. */
export class StableDiffusionXLPAGImg2ImgPipeline extends stableDiffusionXL(perturbed(imageToImage)) {}

/** Inpainting with SDXL and perturbed-attention guidance. Source: diffusers `StableDiffusionXLPAGInpaintPipeline`. */
export class StableDiffusionXLPAGInpaintPipeline extends stableDiffusionXL(perturbed(inpainting)) {}
