import { expected, InvalidArgumentError } from '../errors.ts'
import { ControlNetModel } from '../models/controlnet.ts'
import type { Condition } from './condition.ts'
import { controlImageSize } from './control-image.ts'
import { controlNet } from './controlnet-condition.ts'
import type { ControlSettings } from './controlnet-options.ts'
import type { PipelineImageInput, SizeOptions } from './generate-options.ts'
import { oneEach } from './one-each.ts'
import type { Slot } from './slot.ts'

/** The component that ControlNet pipelines have beside the others. */
export interface ControlNetComponent {
  /** One ControlNet, or several that act together. */
  controlnet: ControlNetModel | readonly ControlNetModel[]
}

/** The slot of one ControlNet or several. */
export const controlNetSlot: Slot = {
  folder: 'controlnet',
  type: 'ControlNetModel, or a non-empty array of them',
  classNames: ['ControlNetModel'],
  is: (value) => netsOf(value).length > 0 && netsOf(value).every((net) => net instanceof ControlNetModel),
  load: (dir, options) => ControlNetModel.fromPretrained(dir, options),
}

/** What each ControlNet follows: one entry, or one for each of several nets. */
export type ControlImages = PipelineImageInput | readonly PipelineImageInput[]

/**
 * The control of a call as conditions, one for each ControlNet.
 *
 * Throws `InvalidArgumentError` for another number of images, scales or spans than there are nets. Source: diffusers
 * `StableDiffusionControlNetPipeline.check_inputs`, `MultiControlNetModel`.
 */
export function controlConditions(
  { controlnet }: ControlNetComponent,
  images: ControlImages,
  options: ControlSettings,
  name = 'image',
): Condition[] {
  const nets = netsOf(controlnet) as ControlNetModel[]
  const pooled = nets[0]?.config.global_pool_conditions ?? false
  if (pooled && nets.length > 1) {
    throw new InvalidArgumentError(
      'Expected a ControlNet without global_pool_conditions first in controlnet, as the first decides on guess mode, but received one that pools',
    )
  }
  const list = controlImageList(images, nets.length, name)
  const scales = oneEach(options.controlnetConditioningScale, nets.length, { name: 'controlnetConditioningScale' })
  const starts = oneEach(options.controlGuidanceStart, nets.length, { name: 'controlGuidanceStart' })
  const ends = oneEach(options.controlGuidanceEnd, nets.length, { name: 'controlGuidanceEnd' })
  const guessMode = options.guessMode === true || pooled
  return nets.map((net, i) => {
    const image = list[i] as PipelineImageInput
    return controlNet(net, { image, scale: scales[i], start: starts[i], end: ends[i], guessMode })
  })
}

/** Size of the pictures of a controlled call: the given one, else that of the first control image. */
export async function controlledSize(
  images: ControlImages,
  { height, width, nets, ...rest }: SizeOptions & { nets: number; name: string; multiple: number; signal?: AbortSignal },
): Promise<{ height: number; width: number }> {
  if (height !== undefined && width !== undefined) {
    return { height, width }
  }
  const [first] = controlImageList(images, nets, rest.name)
  const size = await controlImageSize(first as PipelineImageInput, rest)
  return { height: height ?? size.height, width: width ?? size.width }
}

/** How many nets a component is. */
export function netsOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [value]
}

/** The images of each net. Throws `InvalidArgumentError` unless there is one entry for each of several. */
export function controlImageList(images: ControlImages, nets: number, name: string): PipelineImageInput[] {
  if (nets === 1) {
    return [images as PipelineImageInput]
  }
  if (!Array.isArray(images) || images.length !== nets) {
    throw expected(`an array with one entry for each of ${nets} ControlNets`, name, images)
  }
  return images as PipelineImageInput[]
}
