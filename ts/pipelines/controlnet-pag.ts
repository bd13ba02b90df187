import type { ControlNetComponent } from './control-call.ts'
import { controlledImage, controlledInpainting, controlledText } from './controlnet.ts'
import { perturbed, type StableDiffusionPAGComponents, type StableDiffusionXLPAGComponents } from './pag.ts'
import { stableDiffusion } from './stable-diffusion-base.ts'
import { stableDiffusionXL } from './stable-diffusion-xl-base.ts'

/** Components of Stable Diffusion with ControlNets and perturbed-attention guidance. */
export interface StableDiffusionControlNetPAGComponents extends StableDiffusionPAGComponents, ControlNetComponent {}

/** Components of Stable Diffusion XL with ControlNets and perturbed-attention guidance. */
export interface StableDiffusionXLControlNetPAGComponents extends StableDiffusionXLPAGComponents, ControlNetComponent {}

/** Text to image that follows an image, with perturbed-attention guidance. Source: diffusers `StableDiffusionControlNetPAGPipeline`. */
export class StableDiffusionControlNetPAGPipeline extends stableDiffusion(perturbed(controlledText)) {}

/** Inpainting that follows a second image, with perturbed-attention guidance. Source: diffusers `StableDiffusionControlNetPAGInpaintPipeline`. */
export class StableDiffusionControlNetPAGInpaintPipeline extends stableDiffusion(perturbed(controlledInpainting)) {}

/** Text to image with SDXL that follows an image, with perturbed-attention guidance. Source: diffusers `StableDiffusionXLControlNetPAGPipeline`. */
export class StableDiffusionXLControlNetPAGPipeline extends stableDiffusionXL(perturbed(controlledText)) {}

/** Image to image with SDXL that follows a second image, with perturbed-attention guidance. Source: diffusers `StableDiffusionXLControlNetPAGImg2ImgPipeline`. */
export class StableDiffusionXLControlNetPAGImg2ImgPipeline extends stableDiffusionXL(perturbed(controlledImage)) {}
