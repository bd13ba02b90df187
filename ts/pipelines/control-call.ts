import { expected, InvalidArgumentError } from '../errors.ts'
import type { ControlNetModel } from '../models/controlnet.ts'
import type { Call } from './call.ts'
import type { Condition } from './condition.ts'
import { controlImageSize } from './control-image.ts'
import type { ControlSettings } from './control-options.ts'
import { controlNet } from './controlnet-condition.ts'
import type { CommonOptions, PipelineImageInput, SizeOptions } from './generate-options.ts'
import { oneEach } from './one-each.ts'
import { type Slot, slotOf } from './slot.ts'

/** The component that ControlNet pipelines have beside the others. */
export interface ControlNetComponent {
  /** One ControlNet, or several that act together. */
  controlnet: ControlNetModel | readonly ControlNetModel[]
}

/** The slot of one model of a class, or several that act together. */
export function severalSlot(folder: string, model: Parameters<typeof slotOf>[1]): Slot {
  const one = slotOf(folder, model)
  const is = (value: unknown): boolean => netsOf(value).length > 0 && netsOf(value).every((net) => one.is(net))
  return { ...one, type: `${one.type}, or a non-empty array of them`, is }
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

/** A call for pictures of the given size, else of that of the first control image. */
export async function sizedBy<O extends CommonOptions & SizeOptions>(
  images: ControlImages,
  call: Call<O>,
  { nets, name, multiple }: { nets: number; name: string; multiple: number },
): Promise<Call<O>> {
  const { options, signal } = call
  if (options.height !== undefined && options.width !== undefined) {
    return call
  }
  const [first] = controlImageList(images, nets, name)
  const { height, width } = await controlImageSize(first as PipelineImageInput, { name, multiple, signal })
  return { ...call, options: { ...options, height: options.height ?? height, width: options.width ?? width } }
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
