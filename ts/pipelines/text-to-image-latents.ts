import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { Call } from './call.ts'
import { rangeSteps } from './denoising-range.ts'
import type { TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareLatents } from './latents.ts'
import { pictureSize } from './picture-size.ts'
import type { Prepared } from './prepared.ts'

/** The start of a text-to-image run: pure noise at the size of the pictures. Source: diffusers `StableDiffusionPipeline.prepare_latents`. */
export function prepareTextToImage(
  { options, images, noise, scheduler, steps }: Call<TextToImageXLOptions>,
  { unet, vae }: { unet: UNet2DConditionModel; vae: AutoencoderKL },
): Prepared {
  const factor = vae.scaleFactor
  const { height, width } = pictureSize(options, { unet, factor, multiple: Math.max(8, factor) })
  const { denoisingEnd } = options
  const timesteps = denoisingEnd === undefined ? scheduler.timesteps : rangeSteps(scheduler, { denoisingEnd, strength: 1, steps }).timesteps
  const shape = [images, unet.config.in_channels, Math.floor(height / factor), Math.floor(width / factor)]
  return { latents: prepareLatents(shape, noise, scheduler, options.latents), timesteps, begin: 0, height, width }
}
