import { z } from 'zod'
import { ControlNetUnionModel } from '../models/controlnet-union.ts'
import { severalSlot, sizedBy } from './control-call.ts'
import { controlImageShape } from './control-options.ts'
import { type ControlNetUnionComponent, type ControlNetUnionSettings, unionControl, unionNets } from './control-union-call.ts'
import { controlNetImageXLSchema, controlNetInpaintXLSchema } from './controlnet.ts'
import type { PipelineImageInput, SizeOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import { option } from './option.ts'
import { textToImageXLSchema } from './options-xl.ts'
import { type StableDiffusionXLComponents, stableDiffusionXL } from './stable-diffusion-xl-base.ts'
import type { Task, TaskHost } from './task.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Components of Stable Diffusion XL with a union ControlNet. */
export interface StableDiffusionXLControlNetUnionComponents extends StableDiffusionXLComponents, ControlNetUnionComponent {}

/** Options of text to image with a union ControlNet. */
export interface ControlNetUnionTextOptions extends TextToImageXLOptions, ControlNetUnionSettings {}

/** Options of image to image with a union ControlNet. */
export interface ControlNetUnionImageOptions extends ImageToImageXLOptions, SizeOptions, ControlNetUnionSettings {}

/** Options of inpainting with a union ControlNet. */
export interface ControlNetUnionInpaintOptions extends InpaintXLOptions, ControlNetUnionSettings {}

const kind = z.int().min(0).max(1000)
const shape = {
  controlMode: option(
    z.union([kind, z.array(z.union([kind, z.array(kind).min(1)])).min(1)]),
    'a whole number of at least 0, or one for each control image,',
    'Kind of the control image.',
  ),
} as const

/** Options of text to image with a union ControlNet. */
export const controlNetUnionTextSchema = textToImageXLSchema.extend({ ...controlImageShape, ...shape })

/** Options of image to image with a union ControlNet. */
export const controlNetUnionImageSchema = controlNetImageXLSchema.extend(shape)

/** Options of inpainting with a union ControlNet. */
export const controlNetUnionInpaintSchema = controlNetInpaintXLSchema.extend(shape)

type Controlled = TaskHost<ControlNetUnionComponent>
const slots = { controlnet: severalSlot('controlnet', ControlNetUnionModel) }

/** Follows images of several kinds, at the size of the first unless the call has one. */
const unionText: Task<{ sdxl: ControlNetUnionTextOptions }, Controlled> = {
  options: { sdxl: controlNetUnionTextSchema },
  slots,
  async begin(call, pipe) {
    const { components } = pipe
    const control = unionControl(pipe, call)
    const [first] = unionNets(components, call.options)
    const at = { nets: 1, name: 'controlImage', multiple: pipe.vaeScaleFactor }
    const sized = await sizedBy(first?.images[0] as PipelineImageInput, call, at)
    return { ...prepareTextToImage(sized, pipe), control }
  },
}

/** Changes `image` and follows images of several kinds. */
const unionImage: Task<{ sdxl: ControlNetUnionImageOptions }, Controlled> = {
  options: { sdxl: controlNetUnionImageSchema },
  slots,
  begin: async (call, pipe, scope) => ({ control: unionControl(pipe, call), ...(await prepareImageToImage(call, pipe, scope)) }),
}

/** Repaints a part of `image` and follows images of several kinds. */
const unionInpainting: Task<{ sdxl: ControlNetUnionInpaintOptions }, Controlled> = {
  options: { sdxl: controlNetUnionInpaintSchema },
  slots,
  begin: async (call, pipe, scope) => ({ control: unionControl(pipe, call), ...(await prepareInpaint(call, pipe, scope)) }),
}

/** Text to image with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionPipeline`. */
export class StableDiffusionXLControlNetUnionPipeline extends stableDiffusionXL(unionText) {}

/** Image to image with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionImg2ImgPipeline`. */
export class StableDiffusionXLControlNetUnionImg2ImgPipeline extends stableDiffusionXL(unionImage) {}

/** Inpainting with SDXL that follows images of several kinds. Source: diffusers `StableDiffusionXLControlNetUnionInpaintPipeline`. */
export class StableDiffusionXLControlNetUnionInpaintPipeline extends stableDiffusionXL(unionInpainting) {}
