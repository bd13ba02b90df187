import { ControlNetModel } from '../models/controlnet.ts'
import { guidanceScale } from './common-options.ts'
import type { Condition } from './condition.ts'
import { type ControlNetComponent, controlConditions, netsOf, severalSlot, sizedBy } from './control-call.ts'
import { type ControlledImage, type ControlledText, controlImageShape, controlScale, controlShape } from './control-options.ts'
import type { ImageToImageOptions, InpaintOptions, SizeOptions, TextToImageOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import { imageShape, imageToImageSchema, inpaintSchema, sizeShape, strength, textToImageSchema } from './options.ts'
import { imageToImageXLSchema, inpaintXLSchema, textToImageXLSchema } from './options-xl.ts'
import { type StableDiffusionComponents, stableDiffusion } from './stable-diffusion-base.ts'
import { type StableDiffusionXLComponents, stableDiffusionXL } from './stable-diffusion-xl-base.ts'
import type { Task, TaskHost } from './task.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Components of Stable Diffusion with ControlNets. */
export interface StableDiffusionControlNetComponents extends StableDiffusionComponents, ControlNetComponent {}

/** Components of Stable Diffusion XL with ControlNets. */
export interface StableDiffusionXLControlNetComponents extends StableDiffusionXLComponents, ControlNetComponent {}

/** Options of text to image with a ControlNet. */
export interface ControlNetTextOptions extends TextToImageOptions, ControlledText {}

/** Options of text to image with SDXL and a ControlNet. */
export interface ControlNetTextXLOptions extends TextToImageXLOptions, ControlledText {}

/** Options of image to image with a ControlNet. */
export interface ControlNetImageOptions extends ImageToImageOptions, SizeOptions, ControlledImage {}

/** Options of image to image with SDXL and a ControlNet. */
export interface ControlNetImageXLOptions extends ImageToImageXLOptions, SizeOptions, ControlledImage {}

/** Options of inpainting with a ControlNet. */
export interface ControlNetInpaintOptions extends InpaintOptions, ControlledImage {}

/** Options of inpainting with SDXL and a ControlNet. */
export interface ControlNetInpaintXLOptions extends InpaintXLOptions, ControlledImage {}

/** Options of text to image with a ControlNet. */
export const controlNetTextSchema = textToImageSchema.extend({ ...controlShape, ...imageShape })

/** Options of text to image with SDXL and a ControlNet. */
export const controlNetTextXLSchema = textToImageXLSchema.extend({ ...controlShape, ...imageShape })

const imageToImage = { ...sizeShape, ...controlImageShape, controlnetConditioningScale: controlScale(0.8) }

/** Options of image to image with a ControlNet. */
export const controlNetImageSchema = imageToImageSchema.extend(imageToImage)

/** Options of image to image with SDXL and a ControlNet. */
export const controlNetImageXLSchema = imageToImageXLSchema.extend({ ...imageToImage, strength: strength(0.8) })

/** Options of inpainting with a ControlNet. */
export const controlNetInpaintSchema = inpaintSchema.extend({ ...controlImageShape, controlnetConditioningScale: controlScale(0.5) })

/** Options of inpainting with SDXL and a ControlNet. */
export const controlNetInpaintXLSchema = inpaintXLSchema.extend({ ...controlImageShape, guidanceScale: guidanceScale(5) })

type Controlled = TaskHost<ControlNetComponent>
const slots = { controlnet: severalSlot('controlnet', ControlNetModel) }

/** Pictures of texts that follow `image`, at its size unless the call has one. */
export const controlledText: Task<{ sd: ControlNetTextOptions; sdxl: ControlNetTextXLOptions }, Controlled> = {
  options: { sd: controlNetTextSchema, sdxl: controlNetTextXLSchema },
  slots,
  async begin(call, pipe) {
    const { components, vaeScaleFactor: multiple } = pipe
    const { image } = call.options
    const control = controlConditions(components, image, call.options)
    const sized = await sizedBy(image, call, { nets: netsOf(components.controlnet).length, name: 'image', multiple })
    return { ...prepareTextToImage(sized, pipe), control }
  },
}

/** Pictures of texts and `image` that follow `controlImage`. */
export const controlledImage: Task<{ sd: ControlNetImageOptions; sdxl: ControlNetImageXLOptions }, Controlled> = {
  options: { sd: controlNetImageSchema, sdxl: controlNetImageXLSchema },
  slots,
  begin: async (call, pipe, scope) => ({ control: besideImage(call, pipe), ...(await prepareImageToImage(call, pipe, scope)) }),
}

/** Pictures of which a part is repainted and follows `controlImage`. */
export const controlledInpainting: Task<{ sd: ControlNetInpaintOptions; sdxl: ControlNetInpaintXLOptions }, Controlled> = {
  options: { sd: controlNetInpaintSchema, sdxl: controlNetInpaintXLSchema },
  slots,
  begin: async (call, pipe, scope) => ({ control: besideImage(call, pipe), ...(await prepareInpaint(call, pipe, scope)) }),
}

function besideImage({ options }: { options: ControlledImage }, { components }: Controlled): Condition[] {
  return controlConditions(components, options.controlImage, options, 'controlImage')
}

/** Text to image that follows an image. Source: diffusers `StableDiffusionControlNetPipeline`; arXiv:2302.05543. */
export class StableDiffusionControlNetPipeline extends stableDiffusion(controlledText) {}

/** Image to image that follows a second image. Source: diffusers `StableDiffusionControlNetImg2ImgPipeline`. */
export class StableDiffusionControlNetImg2ImgPipeline extends stableDiffusion(controlledImage) {}

/** Inpainting that follows a second image. Source: diffusers `StableDiffusionControlNetInpaintPipeline`. */
export class StableDiffusionControlNetInpaintPipeline extends stableDiffusion(controlledInpainting) {}

/** Text to image with SDXL that follows an image. Source: diffusers `StableDiffusionXLControlNetPipeline`. */
export class StableDiffusionXLControlNetPipeline extends stableDiffusionXL(controlledText) {}

/** Image to image with SDXL that follows a second image. Source: diffusers `StableDiffusionXLControlNetImg2ImgPipeline`. */
export class StableDiffusionXLControlNetImg2ImgPipeline extends stableDiffusionXL(controlledImage) {}

/** Inpainting with SDXL that follows a second image. Source: diffusers `StableDiffusionXLControlNetInpaintPipeline`. */
export class StableDiffusionXLControlNetInpaintPipeline extends stableDiffusionXL(controlledInpainting) {}
