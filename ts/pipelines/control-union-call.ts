import type { ControlNetUnionModel } from '../models/controlnet-union.ts'
import type { Condition } from './condition.ts'
import { controlImageList, netsOf } from './control-call.ts'
import type { ControlledImage } from './control-options.ts'
import { controlNetUnion } from './controlnet-condition.ts'
import type { PipelineImageInput } from './generate-options.ts'
import { oneEach } from './one-each.ts'

/** The component that pipelines with a union ControlNet have beside the others. */
export interface ControlNetUnionComponent {
  /** One union ControlNet, or several whose residuals are summed. */
  controlnet: ControlNetUnionModel | readonly ControlNetUnionModel[]
}

/** What pictures follow, and of which kinds it is. */
export interface ControlNetUnionSettings extends ControlledImage {
  /**
   * Kind of the control image, below the model's `num_control_type`; a list for several images. With several ControlNets one entry for each, as in
   * the other options of control.
   */
  controlMode: number | readonly (number | readonly number[])[]
}

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
export function unionControl(
  { components }: { components: ControlNetUnionComponent },
  { options }: { options: ControlNetUnionSettings },
): Condition[] {
  const nets = netsOf(components.controlnet) as ControlNetUnionModel[]
  const guessMode = options.guessMode || undefined
  return unionNets(components, options).map((own, i) => controlNetUnion(nets[i] as ControlNetUnionModel, { ...own, guessMode }))
}
