import { checkBoolean, checkNumber, checkOptions } from '../checks.ts'
import { expected, InvalidArgumentError } from '../errors.ts'
import type { ControlRecord } from '../image/metadata/adapters.ts'
import { ControlNetModel } from '../models/controlnet.ts'
import { ControlNetUnionModel } from '../models/controlnet-union.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { sourceName } from './adapter-records.ts'
import { type Condition, type ConditionSpan, checkSpan } from './condition.ts'
import { controlImages } from './control-image.ts'
import { type Evaluate, type How, repeated, residuals, scaled } from './controlnet-residuals.ts'
import type { PipelineImageInput } from './generate-options.ts'

/** What every ControlNet takes. */
export interface ControlOptionsOfCall extends ConditionSpan {
  /** Let the control act without a prompt: on the prompt's half of the batch alone, early blocks weakened. @default true where the model pools */
  guessMode?: boolean
}

/** Options of `controlNet`. */
export interface ControlNetOptions extends ControlOptionsOfCall {
  /** What the picture follows: one for all images, or one for each prompt; a Tensor has values from 0 to 1. */
  image: PipelineImageInput
  /** Strength: one number, or one for each residual (down blocks in order, then the middle). @default 1 */
  scale?: number | readonly number[]
}

/** Options of `controlNetUnion`. */
export interface ControlNetUnionOptions extends ControlOptionsOfCall {
  /** The control images, one for each mode. */
  images: readonly PipelineImageInput[]
  /** Kind of each image, below the model's `num_control_type`. */
  modes: readonly number[]
  /** Strength: one number, or one for each image. @default 1 */
  scale?: number | readonly number[]
}

/** A ControlNet as a condition of a call. Throws `InvalidArgumentError` for bad options. Source: diffusers `StableDiffusionControlNetPipeline`. */
export function controlNet(model: ControlNetModel, options: ControlNetOptions): Condition {
  if (!(model instanceof ControlNetModel)) {
    throw expected('a ControlNetModel', 'model', model)
  }
  const { image, scale = 1, ...rest } = checkOptions('options', options)
  const how = checkHow(rest, model)
  const scales = checkScales(scale)
  return {
    record: recordOf(model, scale, how),
    async prepare(call, scope) {
      checkFamily(model, call.unet)
      const kind = { name: 'image', channels: model.config.conditioning_channels, multiple: call.vaeScaleFactor }
      const images = repeated(await controlImages(image, kind, call, scope), call, scope)
      const evaluate: Evaluate = async (sample, { timestep, scope: step }, given) => {
        const controlnetCond = images(sample.shape[0] ?? 1)
        const conditioningScale = scales.length === 1 ? scales[0] : 1
        const output = await model.forward(sample, timestep, { ...given, controlnetCond, conditioningScale })
        return scales.length === 1 ? output : scaled(output, scales, step)
      }
      return residuals(evaluate, how, call)
    },
  }
}

/** A union ControlNet, which reads several kinds of image, as a condition of a call. Source: diffusers `StableDiffusionXLControlNetUnionPipeline`. */
export function controlNetUnion(model: ControlNetUnionModel, options: ControlNetUnionOptions): Condition {
  if (!(model instanceof ControlNetUnionModel)) {
    throw expected('a ControlNetUnionModel', 'model', model)
  }
  const { images, modes, scale = 1, ...rest } = checkOptions('options', options)
  if (!Array.isArray(modes) || !Array.isArray(images) || images.length === 0 || images.length !== modes.length) {
    throw expected('as many numbers as there are images, at least one,', 'modes', modes)
  }
  const most = model.config.num_control_type
  if (!modes.every((mode) => Number.isInteger(mode) && mode >= 0 && mode < most)) {
    throw expected(`whole numbers from 0 to ${most - 1}`, 'modes', modes)
  }
  const how = checkHow(rest, model)
  const scales = checkScales(scale)
  if (scales.length !== 1 && scales.length !== images.length) {
    throw expected(`one number, or one for each of ${images.length} images,`, 'scale', scale)
  }
  return {
    record: recordOf(model, scale, how),
    async prepare(call, scope) {
      checkFamily(model, call.unet)
      const kind = { name: 'images', channels: model.config.conditioning_channels, multiple: call.vaeScaleFactor }
      const loaded = await Promise.all(images.map(async (image) => repeated(await controlImages(image, kind, call, scope), call, scope)))
      const evaluate: Evaluate = (sample, { timestep }, given) =>
        model.forward(sample, timestep, {
          ...given,
          controlnetCond: loaded.map((image) => image(sample.shape[0] ?? 1)),
          controlTypeIdx: modes,
          conditioningScale: scales,
        })
      return residuals(evaluate, how, call)
    },
  }
}

function recordOf(model: ControlNetModel | ControlNetUnionModel, weight: unknown, { guessMode, ...span }: How): ControlRecord {
  const name = sourceName(model.source, model.constructor.name)
  return { kind: 'controlnet', model: name, weight, ...span, ...(guessMode && { guessMode }) }
}

function checkHow({ guessMode, ...span }: ControlOptionsOfCall, model: ControlNetModel | ControlNetUnionModel): How {
  const pooled = model.config.global_pool_conditions
  return { ...checkSpan(span), guessMode: checkBoolean('guessMode', guessMode ?? pooled) }
}

function checkScales(scale: number | readonly number[]): number[] {
  const scales = Array.isArray(scale) ? (scale as readonly number[]) : [scale as number]
  if (scales.length === 0) {
    throw expected('a number, or a non-empty array of numbers,', 'scale', scale)
  }
  return scales.map((value) => checkNumber('scale', value))
}

/** Throws unless a ControlNet was made for this kind of UNet. */
function checkFamily({ config }: ControlNetModel | ControlNetUnionModel, unet: UNet2DConditionModel): void {
  for (const key of ['cross_attention_dim', 'addition_embed_type', 'block_out_channels'] as const) {
    const [own, wanted] = [JSON.stringify(config[key]), JSON.stringify(unet.config[key])]
    if (own !== wanted) {
      throw new InvalidArgumentError(`Expected ${key} ${wanted}, as the UNet has, for the config of the ControlNet but received ${own}`)
    }
  }
}
