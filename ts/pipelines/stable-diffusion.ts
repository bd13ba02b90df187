import { stableDiffusion } from './stable-diffusion-base.ts'
import { imageToImage, inpainting, textToImage } from './tasks.ts'

/**
 * Text to image with Stable Diffusion 1.x and 2.x. Source: diffusers `StableDiffusionPipeline`.
 *
 * ```ts
 * await using pipe = await StableDiffusionPipeline.fromPretrained()
 * const { images } = await pipe.generate({ prompt: 'a red circle on a blue background', seed: 7 })
 * ```
 */
export class StableDiffusionPipeline extends stableDiffusion(textToImage) {}

/**
 * Image to image with Stable Diffusion 1.x and 2.x: noise is added to the picture, and the last part of the steps runs.
 *
 * The result has the picture's size, down to a multiple of 8. Source: diffusers `StableDiffusionImg2ImgPipeline`.
 */
export class StableDiffusionImg2ImgPipeline extends stableDiffusion(imageToImage) {}

/**
 * Repaints the white part of a mask with Stable Diffusion 1.x and 2.x.
 *
 * A UNet of 4 input channels gets the kept part blended back in after every step; one of 9 gets mask and masked picture as further
 * channels. Source: diffusers `StableDiffusionInpaintPipeline`.
 */
export class StableDiffusionInpaintPipeline extends stableDiffusion(inpainting) {}
