import { z } from 'zod'
import { ControlNetUnionModel } from '../models/controlnet-union.ts'
import type { Condition } from './condition.ts'
import { controlImageList, netsOf } from './control-call.ts'
import { controlNetUnion } from './controlnet-condition.ts'
import { type ControlledImage, controlImageShape, controlNetImageXLSchema, controlNetInpaintXLSchema } from './controlnet-options.ts'
import type { PipelineImageInput, SizeOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { oneEach } from './one-each.ts'
import { option } from './option.ts'
import { textToImageXLSchema } from './options-xl.ts'
import type { Slot } from './slot.ts'

/** The component that pipelines with a union ControlNet have beside the others. */
export interface ControlNetUnionComponent {
  /** One union ControlNet, or several whose residuals are summed. */
  controlnet: ControlNetUnionModel | readonly ControlNetUnionModel[]
}

/** The slot of a union ControlNet. */
export const unionSlot: Slot = {
  folder: 'controlnet',
  type: 'ControlNetUnionModel, or a non-empty array of them',
  classNames: ['ControlNetUnionModel'],
  is: (value) => netsOf(value).length > 0 && netsOf(value).every((net) => net instanceof ControlNetUnionModel),
  load: (dir, options) => ControlNetUnionModel.fromPretrained(dir, options),
}

/** What pictures follow, and of which kinds it is. */
export interface ControlNetUnionSettings extends ControlledImage {
  /**
   * Kind of the control image, below the model's `num_control_type`; a list for several images. With several ControlNets one entry for each, as in
   * the other options of control.
   */
  controlMode: number | readonly (number | readonly number[])[]
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
    z.union([kind, z.array(z.union([kind, z.array(kind).min(1)])).min(1)]),
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

/** What one of the ControlNets follows, and how. */
type OneNet = { images: PipelineImageInput[]; modes: readonly number[]; scale?: OneOrEach; start?: OneOrEach; end?: OneOrEach }
type OneOrEach = number | readonly number[]

/** The images of each ControlNet, one for each mode, with what goes with them. */
export function unionNets({ controlnet }: ControlNetUnionComponent, options: ControlNetUnionSettings): OneNet[] {
  const { controlImage, controlMode, controlnetConditioningScale: scale, controlGuidanceStart: start, controlGuidanceEnd: end } = options
  const count = netsOf(controlnet).length
  if (count === 1) {
    return [{ ...imagesOf(controlImage, controlMode), scale, start, end }]
  }
  const modes = oneEach(controlMode, count, { name: 'controlMode' })
  const [scales, starts, ends] = [
    oneEach(scale, count, { name: 'controlnetConditioningScale' }),
    oneEach(start, count, { name: 'controlGuidanceStart' }),
    oneEach(end, count, { name: 'controlGuidanceEnd' }),
  ]
  return controlImageList(controlImage, count, 'controlImage').map((images, i) => ({
    ...imagesOf(images, modes[i] ?? 0),
    scale: scales[i],
    start: starts[i],
    end: ends[i],
  }))
}

function imagesOf(
  controlImage: ControlNetUnionSettings['controlImage'],
  controlMode: ControlNetUnionSettings['controlMode'],
): Pick<OneNet, 'images' | 'modes'> {
  const modes = (Array.isArray(controlMode) ? controlMode : [controlMode]) as readonly number[]
  const list = modes.length === 1 && Array.isArray(controlImage) && controlImage.length === 1 ? controlImage[0] : controlImage
  return { images: controlImageList(list as PipelineImageInput, modes.length, 'controlImage'), modes }
}

/** The control of a call as conditions, one for each ControlNet. Throws `InvalidArgumentError`. Source: diffusers `MultiControlNetUnionModel`. */
export function unionControl(components: ControlNetUnionComponent, options: ControlNetUnionSettings): Condition[] {
  const nets = netsOf(components.controlnet) as ControlNetUnionModel[]
  const guessMode = options.guessMode || undefined
  return unionNets(components, options).map((own, i) => controlNetUnion(nets[i] as ControlNetUnionModel, { ...own, guessMode }))
}
