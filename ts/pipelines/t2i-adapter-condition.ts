import { checkNumber, checkOptions } from '../checks.ts'
import { expected, InvalidArgumentError } from '../errors.ts'
import { T2IAdapter } from '../models/t2i-adapter.ts'
import type { Tensor } from '../tensor.ts'
import { sourceName } from './adapter-records.ts'
import type { Condition, ConditionSpan } from './condition.ts'
import { checkSpan } from './condition.ts'
import { controlImages } from './control-image.ts'
import type { PipelineImageInput } from './generate-options.ts'

/** Options of `t2iAdapter`. */
export interface T2IAdapterOptions extends Pick<ConditionSpan, 'end'> {
  /** What the picture follows: one for all images, or one for each prompt; a Tensor has values from 0 to 1. */
  image: PipelineImageInput
  /** Strength: one number, or one for each feature. @default 1 */
  scale?: number | readonly number[]
}

/** A T2I-Adapter as a condition of a call: its features are computed once. Source: diffusers `StableDiffusionXLAdapterPipeline`. */
export function t2iAdapter(model: T2IAdapter, options: T2IAdapterOptions): Condition {
  if (!(model instanceof T2IAdapter)) {
    throw expected('a T2IAdapter', 'model', model)
  }
  const { image, scale = 1, end } = checkOptions('options', options)
  const span = checkSpan({ end })
  const scales = (Array.isArray(scale) ? (scale as readonly number[]) : [scale as number]).map((value) => checkNumber('scale', value))
  const name = sourceName(model.source, model.constructor.name)
  return {
    record: { kind: 't2i-adapter', model: name, weight: scale, ...span },
    async prepare(call, scope) {
      const { unet, images, signal } = call
      const [wanted, given] = [JSON.stringify(unet.config.block_out_channels), JSON.stringify(model.config.channels)]
      if (given !== wanted) {
        throw new InvalidArgumentError(
          `Expected channels ${wanted}, as the UNet's blocks have, for the config of the T2I-Adapter but received ${given}`,
        )
      }
      const { in_channels: channels, downscale_factor: multiple } = model.config
      const pixels = await controlImages(image, { name: 'image', channels, multiple }, call, scope)
      const features = (await model.forward(pixels, { signal })).map((feature) => scope.keep(feature))
      if (scales.length !== 1 && scales.length !== features.length) {
        throw expected(`one number, or one for each of ${features.length} features,`, 'scale', scale)
      }
      const scaled = features.map((feature, i) => scope.keep(feature.mul(scales[i] ?? scales[0] ?? 1)))
      const known = new Map<number, Tensor[]>([[1, scaled]])
      return ({ index, total, sample }) => {
        if (index >= Math.trunc(total * span.end)) {
          return {}
        }
        const rows = (sample.shape[0] ?? images) / images
        const found = known.get(rows) ?? scaled.map((feature) => scope.keep(feature.repeat([rows, 1, 1, 1])))
        known.set(rows, found)
        return { downIntrablockAdditionalResiduals: found }
      }
    },
  }
}
