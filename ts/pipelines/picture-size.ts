import { ConfigError, expected } from '../errors.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { SizeOptions } from './generate-options.ts'

/** Size of the pictures: the given one, else what the UNet was trained on. Throws unless both are multiples of `multiple`. */
export function pictureSize(
  { height, width }: SizeOptions,
  { unet, factor, multiple }: { unet: UNet2DConditionModel; factor: number; multiple: number },
): { height: number; width: number } {
  const trained = unet.config.sample_size
  const [tall, wide] = typeof trained === 'number' ? [trained, trained] : (trained ?? [undefined, undefined])
  const size = { height: height ?? (tall ?? Number.NaN) * factor, width: width ?? (wide ?? Number.NaN) * factor }
  for (const [name, value] of Object.entries(size)) {
    if (Number.isNaN(value)) {
      throw new ConfigError(`Expected sample_size in the UNet's config or the option ${name} but received neither`)
    }
    if (value % multiple !== 0) {
      throw expected(`a multiple of ${multiple}`, name, value)
    }
  }
  return size
}
