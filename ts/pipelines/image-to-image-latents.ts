import { expected } from '../errors.ts'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { randnTensor } from '../random.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import { imageSteps } from './denoising-range.ts'
import type { ImageToImageXLOptions } from './generate-options-xl.ts'
import { encodeImages, type RunSteps } from './latents.ts'
import { loadPictures } from './pictures.ts'
import type { Prepared } from './prepared.ts'

/**
 * The start of an image-to-image run: the encoded picture, noised to the first timestep unless another model has run the steps before (`denoisingStart`).
 *
 * Throws `InvalidArgumentError` for pictures in place of that model's latents. Source: diffusers `StableDiffusionImg2ImgPipeline.prepare_latents`.
 */
export async function prepareImageToImage(
  call: Call<ImageToImageXLOptions>,
  { vae }: { vae: AutoencoderKL },
  scope: Scope,
  { timesteps, begin }: RunSteps = imageSteps(call),
): Promise<Prepared> {
  const { options, images, noise, scheduler, signal } = call
  if (options.denoisingStart !== undefined && !(options.image instanceof Tensor)) {
    throw expected('latents of the first model beside denoisingStart', 'image', options.image)
  }
  const pictures = await loadPictures(options.image, { name: 'image', signal })
  const processor = new VaeImageProcessor({ vaeScaleFactor: vae.scaleFactor, vaeLatentChannels: vae.config.latent_channels })
  const pixels = scope.keep(await processor.preprocess(pictures))
  const clean = scope.keep(await encodeImages(vae, pixels, { images, generator: noise.generator, spread: 'images', signal }))
  const [height = 0, width = 0] = clean.shape.slice(2).map((size) => size * vae.scaleFactor)
  const prepared = { timesteps, begin, height, width, parameters: { strength: options.strength } }
  if (options.denoisingStart !== undefined) {
    return { ...prepared, latents: clean.clone() }
  }
  const drawn = scope.keep(randnTensor(clean.shape, noise.generator))
  const at = Array.from({ length: images }, () => timesteps[0] ?? 0)
  return { ...prepared, latents: scheduler.addNoise(clean, drawn, at) }
}
