import { stableDiffusionXL } from './stable-diffusion-xl-base.ts'
import { imageToImage, inpainting, textToImage } from './tasks.ts'

/** Text to image with Stable Diffusion XL. Source: diffusers `StableDiffusionXLPipeline`. */
export class StableDiffusionXLPipeline extends stableDiffusionXL(textToImage) {}

/** Image to image with Stable Diffusion XL, and its refiner. Source: diffusers `StableDiffusionXLImg2ImgPipeline`. */
export class StableDiffusionXLImg2ImgPipeline extends stableDiffusionXL(imageToImage) {}

/** Inpainting with Stable Diffusion XL. Source: diffusers `StableDiffusionXLInpaintPipeline`. */
export class StableDiffusionXLInpaintPipeline extends stableDiffusionXL(inpainting) {}
