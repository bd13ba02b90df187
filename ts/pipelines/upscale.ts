import { z } from 'zod'
import { checkInteger } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { randnTensor } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Tensor } from '../tensor.ts'
import { commonShape } from './common-options.ts'
import type { UNetCondition } from './denoise-options.ts'
import type { CommonOptions, LatentsOptions, PipelineImageInput } from './generate-options.ts'
import { repeatBatch } from './latents.ts'
import { option } from './option.ts'
import { enlargingShape, loadPicturesToEnlarge, startFromNoise } from './picture-to-enlarge.ts'
import { schedulerSlot } from './slots.ts'
import { type StableDiffusionComponents, stableDiffusion } from './stable-diffusion-base.ts'
import type { Task, TaskHost } from './task.ts'

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

const enlarging: Task<{ sd: UpscaleOptions }, TaskHost<UpscaleComponents>> = {
  options: { sd: upscaleSchema },
  slots: { lowResScheduler: schedulerSlot('low_res_scheduler') },
  settings: ['maxNoiseLevel'],
  async begin(call, pipe, scope) {
    const { options, images, noise } = call
    const { vae, unet, components } = pipe
    const channels = vae.config.latent_channels
    const level = checkInteger('noiseLevel', options.noiseLevel, { min: 0, max: components.maxNoiseLevel ?? 350 })
    if (unet.config.in_channels !== channels + 3) {
      throw new ConfigError(`Expected in_channels ${channels + 3} in the UNet's config but received ${unet.config.in_channels}`)
    }
    const pixels = await loadPicturesToEnlarge(call, pipe, scope)
    if (pixels.shape[1] !== 3) {
      throw expected('pictures of three channels', 'image', options.image)
    }
    const given = Array.isArray(noise.generator) ? scope.keep(repeatBatch(pixels, images)) : pixels
    const drawn = scope.keep(randnTensor(given.shape, noise.generator))
    const levels = Array.from({ length: given.shape[0] ?? 1 }, () => level)
    const noised = scope.keep(components.lowResScheduler.addNoise(given, drawn, levels))
    const [rows = 0, columns = 0] = pixels.shape.slice(2)
    return {
      ...startFromNoise(call, pipe, [rows, columns]),
      conditions: [besideSmall(scope.keep(repeatBatch(noised, images)), level)],
      pictures: (latents) => latents.mul(vae.config.scaling_factor / SCALING),
      parameters: { noiseLevel: level },
    }
  },
}

/** Makes pictures four times as large. Source: diffusers `StableDiffusionUpscalePipeline`; stabilityai/stable-diffusion-x4-upscaler. */
export class StableDiffusionUpscalePipeline extends stableDiffusion(enlarging) {}

/** Puts the small picture beside the latents, and tells the network how much noise is on it. */
function besideSmall(small: Tensor, level: number): UNetCondition {
  return ({ sample, scope }) => {
    const rows = sample.shape[0] ?? 1
    const beside = scope.keep(repeatBatch(small, rows))
    return { sample: scope.keep(Tensor.cat([sample, beside], 1)), classLabels: scope.keep(Tensor.full([rows], level, 'i64')) }
  }
}
