import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import { ImageTextGuidance } from '../guidance/image-guidance.ts'
import { peakScale } from '../guidance/schedule.ts'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { commonShape, numInferenceSteps } from './common-options.ts'
import type { UNetCondition } from './denoise-options.ts'
import type { CommonOptions, LatentsOptions, PipelineImageInput } from './generate-options.ts'
import { checkDivides, prepareLatents, repeatBatch } from './latents.ts'
import { option } from './option.ts'
import { imageShape, latentsShape } from './options.ts'
import { loadPictures } from './pictures.ts'
import { stableDiffusion } from './stable-diffusion-base.ts'
import type { Task } from './task.ts'

/** Options of `StableDiffusionInstructPix2PixPipeline.generate`; `numInferenceSteps` defaults to 100. */
export interface InstructPix2PixOptions extends Omit<CommonOptions, 'guidance' | 'guidanceRescale'>, LatentsOptions {
  /** Picture to change by the instruction in `prompt`. */
  image: PipelineImageInput
  /** Weight of the picture, which keeps the result near to it; off below 1. @default 1.5 */
  imageGuidanceScale?: number
}

const { guidance: _g, guidanceRescale: _r, ...shape } = commonShape

/** Options of changing a picture by instruction. */
export const instructPix2PixSchema = z.strictObject({
  ...shape,
  ...latentsShape,
  ...imageShape,
  numInferenceSteps: numInferenceSteps(100),
  imageGuidanceScale: option(z.number().min(0).default(1.5), 'a number of at least 0', 'Weight of the picture; off below 1.'),
})

const instruction: Task<{ sd: InstructPix2PixOptions }> = {
  options: { sd: instructPix2PixSchema },
  async begin({ options, images, noise, scheduler, signal }, { vae, vaeScaleFactor: factor, unet }, scope) {
    const channels = vae.config.latent_channels
    if (unet.config.in_channels !== 2 * channels) {
      throw new ConfigError(`Expected in_channels ${2 * channels} in the UNet's config but received ${unet.config.in_channels}`)
    }
    const pictures = await loadPictures(options.image, { name: 'image', signal })
    const pixels = scope.keep(await new VaeImageProcessor({ vaeScaleFactor: factor, vaeLatentChannels: channels }).preprocess(pictures))
    checkDivides(pixels, images, 'image')
    const picture = scope.keep(repeatBatch(await likeliest(pixels, vae, scope, signal), images))
    const [rows = 0, columns = 0] = picture.shape.slice(2)
    return {
      latents: prepareLatents([images, channels, rows, columns], noise, scheduler, options.latents),
      timesteps: scheduler.timesteps,
      begin: 0,
      height: rows * factor,
      width: columns * factor,
      guidance: new ImageTextGuidance({ scale: peakScale(options.guidanceScale), imageScale: options.imageGuidanceScale }),
      conditions: [besidePicture(picture, scope)],
      parameters: { imageGuidanceScale: options.imageGuidanceScale },
    }
  },
}

/** Changes a picture by an instruction ("make it snow"). Source: diffusers `StableDiffusionInstructPix2PixPipeline`; arXiv:2211.09800. */
export class StableDiffusionInstructPix2PixPipeline extends stableDiffusion(instruction) {}

/** The most likely latents, unscaled, as this model was trained with. */
async function likeliest(pixels: Tensor, vae: AutoencoderKL, scope: Scope, signal: AbortSignal): Promise<Tensor> {
  if (pixels.shape[1] === vae.config.latent_channels) {
    return pixels
  }
  const { latentDist } = await vae.encode(pixels, { signal })
  scope.keep(latentDist.logvar)
  return scope.keep(latentDist.mean)
}

/** Puts the picture's latents beside the noisy ones; the last of three blocks does without. */
function besidePicture(picture: Tensor, scope: Scope): UNetCondition {
  const three = scope.keep(Tensor.cat([picture, picture, scope.keep(picture.mul(0))]))
  return ({ sample, rows, scope: step }) => ({ sample: step.keep(Tensor.cat([sample, rows.length === 1 ? picture : three], 1)) })
}
