import { z } from 'zod'
import { expected } from '../errors.ts'
import { ControlNetUnionModel } from '../models/controlnet-union.ts'
import type { Condition } from './condition.ts'
import { controlImageList, oneEach } from './control-call.ts'
import { controlNetUnion } from './controlnet-condition.ts'
import { type ControlledImage, controlImageShape, controlNetImageXLSchema, controlNetInpaintXLSchema } from './controlnet-options.ts'
import type { PipelineImageInput, SizeOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { option } from './option.ts'
import { textToImageXLSchema } from './options-xl.ts'
import type { Slot } from './slot.ts'

/** The component that pipelines with a union ControlNet have beside the others. */
export interface ControlNetUnionComponent {
  controlnet: ControlNetUnionModel
}

/** The slot of a union ControlNet. */
export const unionSlot: Slot = {
  folder: 'controlnet',
  type: 'ControlNetUnionModel',
  classNames: ['ControlNetUnionModel'],
  is: (value) => value instanceof ControlNetUnionModel,
  load: (dir, options) => ControlNetUnionModel.fromPretrained(dir, options),
}

/** What pictures follow, and of which kinds it is. */
export interface ControlNetUnionSettings extends ControlledImage {
  /** Kind of the control image, below the model's `num_control_type`; a list for several images. */
  controlMode: number | readonly number[]
}

/** Options of text to image with a union ControlNet. */
export interface ControlNetUnionTextOptions extends TextToImageXLOptions, ControlNetUnionSettings {}

/** Options of image to image with a union ControlNet. */
export interface ControlNetUnionImageOptions extends ImageToImageXLOptions, SizeOptions, ControlNetUnionSettings {}

/** Options of inpainting with a union ControlNet. */
export interface ControlNetUnionInpaintOptions extends InpaintXLOptions, ControlNetUnionSettings {}

const kind = z.int().min(0).max(1000)
const shape = {
  ...controlImageShape,
  controlMode: option(
    z.union([kind, z.array(kind).min(1)]),
    'a whole number of at least 0, or one for each control image,',
    'Kind of the control image.',
  ),
} as const

/** Options of text to image with a union ControlNet. */
export const controlNetUnionTextSchema = z.strictObject({ ...textToImageXLSchema.shape, ...shape })

/** Options of image to image with a union ControlNet. */
export const controlNetUnionImageSchema = z.strictObject({ ...controlNetImageXLSchema.shape, controlMode: shape.controlMode })

/** Options of inpainting with a union ControlNet. */
export const controlNetUnionInpaintSchema = z.strictObject({ ...controlNetInpaintXLSchema.shape, controlMode: shape.controlMode })

/** The control images, one for each mode. */
export function unionImages({ controlImage, controlMode }: ControlNetUnionSettings): PipelineImageInput[] {
  const modes = Array.isArray(controlMode) ? controlMode.length : 1
  const list = modes === 1 && Array.isArray(controlImage) && controlImage.length === 1 ? controlImage[0] : controlImage
  return controlImageList(list as PipelineImageInput, modes, 'controlImage')
}

/** The control of a call as a condition. Throws `InvalidArgumentError`, also for images that would act in different parts of the run. */
export function unionControl({ controlnet }: ControlNetUnionComponent, options: ControlNetUnionSettings): Condition[] {
  const images = unionImages(options)
  const modes = (Array.isArray(options.controlMode) ? options.controlMode : [options.controlMode]) as readonly number[]
  const scale = oneEach(options.controlnetConditioningScale, images.length, 'controlnetConditioningScale').map((value) => value ?? 1)
  const one = (value: number | readonly number[] | undefined, name: string): number | undefined => {
    const values = new Set(oneEach(value, images.length, name))
    if (values.size > 1) {
      throw expected('one number for all images of a ControlNetUnionModel', name, value)
    }
    return [...values][0]
  }
  const start = one(options.controlGuidanceStart, 'controlGuidanceStart')
  const end = one(options.controlGuidanceEnd, 'controlGuidanceEnd')
  return [controlNetUnion(controlnet, { images, modes, scale, start, end, guessMode: options.guessMode || undefined })]
}
