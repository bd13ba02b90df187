import { checkBoolean, checkNumber, checkOptions } from '../checks.ts'
import { expected, InvalidArgumentError } from '../errors.ts'
import type { ControlRecord } from '../image/metadata/adapters.ts'
import { ControlNetModel } from '../models/controlnet.ts'
import { ControlNetUnionModel } from '../models/controlnet-union.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { sourceName } from './adapter-records.ts'
import { type Condition, type ConditionSpan, checkSpan, isWithin } from './condition.ts'
import { controlImages } from './control-image.ts'
import { type Evaluate, repeated, residuals, scaled } from './controlnet-residuals.ts'
import type { UNetStep } from './denoise-options.ts'
import type { PipelineImageInput } from './generate-options.ts'
import { oneEach } from './one-each.ts'

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
export interface ControlNetUnionOptions extends Omit<ControlOptionsOfCall, 'start' | 'end'> {
  /** The control images, one for each mode. */
  images: readonly PipelineImageInput[]
  /** Kind of each image, below the model's `num_control_type`. */
  modes: readonly number[]
  /** Strength: one number, or one for each image. @default 1 */
  scale?: number | readonly number[]
  /** Share of the steps after which control begins, from 0: one number, or one for each image, which counts nothing before. @default 0 */
  start?: number | readonly number[]
  /** Share of the steps after which it ends, up to 1: one number, or one for each image. @default 1 */
  end?: number | readonly number[]
}

/** A ControlNet as a condition of a call. Throws `InvalidArgumentError` for bad options. Source: diffusers `StableDiffusionControlNetPipeline`. */
export function controlNet(model: ControlNetModel, options: ControlNetOptions): Condition {
  if (!(model instanceof ControlNetModel)) {
    throw expected('a ControlNetModel', 'model', model)
  }
  const { image, scale = 1, ...rest } = checkOptions('options', options)
  const { guessMode, ...given } = rest
  const span = checkSpan(given)
  const how = { acts: (step: UNetStep) => isWithin(step, span), guessMode: checkGuessMode(guessMode, model) }
  const scales = checkScales(scale)
  return {
    record: recordOf(model, scale, { ...span, ...how }),
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
  const { images, modes, scale = 1, start, end, guessMode } = checkOptions('options', options)
  if (!Array.isArray(modes) || !Array.isArray(images) || images.length === 0 || images.length !== modes.length) {
    throw expected('as many numbers as there are images, at least one,', 'modes', modes)
  }
  const most = model.config.num_control_type
  if (!modes.every((mode) => Number.isInteger(mode) && mode >= 0 && mode < most)) {
    throw expected(`whole numbers from 0 to ${most - 1}`, 'modes', modes)
  }
  const each = (value: number | readonly number[] | undefined, name: string): (number | undefined)[] =>
    oneEach(Array.isArray(value) && value.length === 1 ? value[0] : value, images.length, { name, of: 'images' })
  const scales = each(scale, 'scale').map((value) => checkNumber('scale', value))
  const [starts, ends] = [each(start, 'start'), each(end, 'end')]
  const spans = images.map((_, i) => checkSpan({ start: starts[i], end: ends[i] }))
  const how = { acts: (step: UNetStep) => spans.some((span) => isWithin(step, span)), guessMode: checkGuessMode(guessMode, model) }
  const whole = { start: Math.min(...spans.map((span) => span.start)), end: Math.max(...spans.map((span) => span.end)) }
  return {
    record: recordOf(model, scale, { ...whole, ...how }),
    async prepare(call, scope) {
      checkFamily(model, call.unet)
      const kind = { name: 'images', channels: model.config.conditioning_channels, multiple: call.vaeScaleFactor }
      const loaded = await Promise.all(images.map(async (image) => repeated(await controlImages(image, kind, call, scope), call, scope)))
      const evaluate: Evaluate = (sample, step, given) =>
        model.forward(sample, step.timestep, {
          ...given,
          controlnetCond: loaded.map((image) => image(sample.shape[0] ?? 1)),
          controlTypeIdx: modes,
          conditioningScale: scales.map((own, i) => (isWithin(step, spans[i] ?? whole) ? own : 0)),
        })
      return residuals(evaluate, how, call)
    },
  }
}

function recordOf(
  model: ControlNetModel | ControlNetUnionModel,
  weight: unknown,
  { guessMode, start, end }: Required<ControlOptionsOfCall>,
): ControlRecord {
  const name = sourceName(model.source, model.constructor.name)
  return { kind: 'controlnet', model: name, weight, start, end, ...(guessMode && { guessMode }) }
}

function checkGuessMode(guessMode: boolean | undefined, { config }: ControlNetModel | ControlNetUnionModel): boolean {
  return checkBoolean('guessMode', guessMode ?? config.global_pool_conditions)
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
