import { z } from 'zod'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import { numInferenceSteps } from './common-options.ts'
import type { LatentsOptions, PipelineImageInput } from './generate-options.ts'
import { checkDivides, prepareLatents } from './latents.ts'
import { option } from './option.ts'
import { imageShape, latentsShape } from './options.ts'
import { loadPictures } from './pictures.ts'
import type { Prepared } from './prepared.ts'

/** Options that both upscalers have. */
export const enlargingShape = {
  ...latentsShape,
  ...imageShape,
  numInferenceSteps: numInferenceSteps(75),
  guidanceScale: option(z.number().default(9), 'a finite number', 'Weight of the prompt; 0 leaves it out.'),
}

/** What the helpers need of an upscaler. */
type Upscaler = { vae: AutoencoderKL; vaeScaleFactor: number }

/** The pictures of a call that enlarges them, (B, C, H, W) in -1..1, as many as divide its images. */
export async function loadPicturesToEnlarge(
  { options, images, signal }: Pick<Call, 'images' | 'signal'> & { options: { image: PipelineImageInput } },
  { vae, vaeScaleFactor }: Upscaler,
  scope: Scope,
): Promise<Tensor> {
  const pictures = await loadPictures(options.image, { name: 'image', signal })
  const processor = new VaeImageProcessor({ vaeScaleFactor, vaeLatentChannels: vae.config.latent_channels, resample: 'bicubic' })
  const pixels = scope.keep(await processor.preprocess(pictures))
  checkDivides(pixels, images, 'image')
  return pixels
}

/** A run over all steps from pure noise on a grid of latents of (rows, columns). */
export function startFromNoise(
  { options, images, noise, scheduler }: Pick<Call, 'images' | 'noise' | 'scheduler'> & { options: LatentsOptions },
  { vae, vaeScaleFactor: factor }: Upscaler,
  [rows, columns]: readonly [number, number],
): Prepared {
  const latents = prepareLatents([images, vae.config.latent_channels, rows, columns], noise, scheduler, options.latents)
  return { latents, timesteps: scheduler.timesteps, begin: 0, height: rows * factor, width: columns * factor }
}
