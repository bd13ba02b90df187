import { z } from 'zod'
import { checkInteger } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { randnTensor } from '../random.ts'
import { Scheduler } from '../schedulers/scheduler.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import { commonShape } from './common-options.ts'
import type { UNetCondition } from './denoise-options.ts'
import type { CommonOptions, LatentsOptions, PipelineImageInput } from './generate-options.ts'
import { repeatBatch } from './latents.ts'
import { option } from './option.ts'
import { enlargingShape, loadPicturesToEnlarge, startFromNoise } from './picture-to-enlarge.ts'
import type { Prepared } from './prepared.ts'
import type { Slots } from './slot.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'

/** Components of the x4 upscaler. */
export interface UpscaleComponents extends StableDiffusionComponents {
  /** Adds the noise to the small picture. */
  lowResScheduler: Scheduler
  /** The most noise that the model was trained with. @default 350 */
  maxNoiseLevel?: number
}

/** Options of `StableDiffusionUpscalePipeline.generate`; `numInferenceSteps` defaults to 75, `guidanceScale` to 9. */
export interface UpscaleOptions extends CommonOptions, LatentsOptions {
  /** Small pictures. */
  image: PipelineImageInput
  /** Noise on the small picture, 0 to `maxNoiseLevel`: more is freer. @default 20 */
  noiseLevel?: number
}

/** Options of the x4 upscaler. */
export const upscaleSchema = z.strictObject({
  ...commonShape,
  ...enlargingShape,
  noiseLevel: option(z.int().min(0).default(20), 'a whole number of at least 0', 'Noise on the small picture: more is freer.'),
})

/** Scaling factor of the model's autoencoder, whatever its config says. Source: diffusers `StableDiffusionUpscalePipeline.__init__`. */
const SCALING = 0.08333

/** Makes pictures four times as large. Source: diffusers `StableDiffusionUpscalePipeline`; stabilityai/stable-diffusion-x4-upscaler. */
export class StableDiffusionUpscalePipeline extends StableDiffusionBase<UpscaleComponents, UpscaleOptions> {
  static override readonly slots: Slots = {
    ...StableDiffusionBase.slots,
    lowResScheduler: {
      folder: 'low_res_scheduler',
      type: 'Scheduler',
      is: (value) => value instanceof Scheduler,
      load: (dir, { subfolder }) => Scheduler.fromPretrained(dir, { subfolder }),
    },
  }
  static override readonly settings: readonly string[] = ['maxNoiseLevel']
  protected override readonly schema: z.ZodObject = upscaleSchema

  protected override check({ noiseLevel }: UpscaleOptions): void {
    const { maxNoiseLevel } = this.components
    checkInteger('noiseLevel', noiseLevel, { min: 0, max: maxNoiseLevel ?? 350 })
  }

  protected override async prepare(call: Call<UpscaleOptions>, scope: Scope): Promise<Prepared> {
    const { options, images, noise } = call
    const { vae, unet } = this
    const channels = vae.config.latent_channels
    if (unet.config.in_channels !== channels + 3) {
      throw new ConfigError(`Expected in_channels ${channels + 3} in the UNet's config but received ${unet.config.in_channels}`)
    }
    const pixels = await loadPicturesToEnlarge(call, this, scope)
    if (pixels.shape[1] !== 3) {
      throw expected('pictures of three channels', 'image', options.image)
    }
    const given = Array.isArray(noise.generator) ? scope.keep(repeatBatch(pixels, images)) : pixels
    const level = options.noiseLevel ?? 20
    const drawn = scope.keep(randnTensor(given.shape, noise.generator))
    const levels = Array.from({ length: given.shape[0] ?? 1 }, () => level)
    const noised = scope.keep(this.components.lowResScheduler.addNoise(given, drawn, levels))
    const [rows = 0, columns = 0] = pixels.shape.slice(2)
    return {
      ...startFromNoise(call, this, [rows, columns]),
      conditions: [besideSmall(scope.keep(repeatBatch(noised, images)), level)],
      pictures: (latents) => latents.mul(vae.config.scaling_factor / SCALING),
      parameters: { noiseLevel: level },
    }
  }
}

/** Puts the small picture beside the latents, and tells the network how much noise is on it. */
function besideSmall(small: Tensor, level: number): UNetCondition {
  return ({ sample, scope }) => {
    const rows = sample.shape[0] ?? 1
    const beside = scope.keep(repeatBatch(small, rows))
    return { sample: scope.keep(Tensor.cat([sample, beside], 1)), classLabels: scope.keep(Tensor.full([rows], level, 'i64')) }
  }
}
