import { ConfigError, expected } from '../errors.ts'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { randnTensor } from '../random.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import { imageSteps } from './denoising-range.ts'
import type { InpaintOptions } from './generate-options.ts'
import type { InpaintXLOptions } from './generate-options-xl.ts'
import { blankMasked, type InpaintInputs, maskLatents, readInpaintInputs } from './inpaint-mask.ts'
import { concatenate, reblend } from './inpaint-steps.ts'
import { encodeImages, initialNoise, repeatBatch } from './latents.ts'
import { pictureSize } from './picture-size.ts'
import type { Prepared } from './prepared.ts'

type Encoding = Parameters<typeof encodeImages>[2]

/**
 * Prepares inpainting for a UNet of 4 or 9 input channels.
 *
 * Random numbers are drawn in the order of diffusers: the picture's posterior (unless a 9-channel run starts from pure noise), the
 * noise, the masked picture's posterior. Throws `ConfigError` for another number of channels. Source: diffusers `StableDiffusionInpaintPipeline`.
 */
export async function prepareInpaint(
  call: Call<InpaintXLOptions>,
  { unet, vae }: { unet: UNet2DConditionModel; vae: AutoencoderKL },
  scope: Scope,
): Promise<Prepared> {
  const { options, images, noise, scheduler, signal } = call
  const { timesteps, begin } = imageSteps(call)
  const addNoise = options.denoisingStart === undefined
  const { scaleFactor: factor, config } = vae
  const channels = config.latent_channels
  const sees = seesMask(unet, channels)
  const { height, width } = pictureSize(options, { unet, factor, multiple: factor })
  const small = { height: height / factor, width: width / factor }
  const inputs = await readInpaintInputs(options, { height, width, factor, latentChannels: channels, scope, signal })
  const mask = maskLatents(inputs.mask, small, images, scope)

  const encoding: Encoding = { images, generator: noise.generator, spread: noise.perImage ? 'images' : 'given', signal }
  const pure = options.strength === 1 || options.latents !== undefined
  const clean = !sees || !pure || !addNoise ? scope.keep(await encodeImages(vae, inputs.pixels, encoding)) : undefined
  const drawn = scope.keep(initialNoise([images, channels, small.height, small.width], noise, options.latents))
  const masked = sees
    ? await maskedLatents(vae, inputs, { options, encoding, scope })
    : skipPosterior(inputs.pixels, drawn, options, encoding)
  const first = Array.from({ length: images }, () => timesteps[0] ?? 0)
  const start = (): Tensor => (clean === undefined || pure ? drawn.mul(scheduler.initNoiseSigma) : scheduler.addNoise(clean, drawn, first))
  return {
    latents: addNoise || clean === undefined ? start() : clean.clone(),
    timesteps,
    begin,
    height,
    width,
    conditions: masked && [concatenate(scope.keep(Tensor.cat([mask, masked], 1)))],
    afterStep: sees || clean === undefined ? undefined : reblend({ clean, drawn, mask, scheduler, timesteps }),
    cropped: inputs.crop && { cropCoords: inputs.crop.box, resizeMode: 'fill' },
    paste: pasteBack(inputs),
    parameters: { strength: options.strength, paddingMaskCrop: options.paddingMaskCrop },
  }
}

/** Whether the UNet gets mask and masked picture as channels of its own. */
function seesMask(unet: UNet2DConditionModel, channels: number): boolean {
  const inputs = unet.config.in_channels
  if (inputs !== channels && inputs !== 2 * channels + 1) {
    throw new ConfigError(`Expected in_channels ${channels} or ${2 * channels + 1} in the UNet's config but received ${inputs}`)
  }
  return inputs !== channels
}

/** A 4-channel UNet has no use for the masked picture, but the reference encodes it: draws what its posterior takes. */
function skipPosterior(
  pixels: Tensor,
  drawn: Tensor,
  { maskedImageLatents }: InpaintOptions,
  { images, generator, spread }: Encoding,
): undefined {
  if (maskedImageLatents !== undefined || pixels.shape[1] === drawn.shape[1]) {
    return
  }
  const rows = Array.isArray(generator) && spread === 'images' ? images : (pixels.shape[0] ?? 1)
  randnTensor([rows, ...drawn.shape.slice(1)], Array.isArray(generator) ? generator.slice(0, rows) : generator).dispose()
}

async function maskedLatents(
  vae: AutoencoderKL,
  { pixels, mask }: InpaintInputs,
  { options: { maskedImageLatents }, encoding, scope }: { options: InpaintOptions; encoding: Encoding; scope: Scope },
): Promise<Tensor> {
  const channels = vae.config.latent_channels
  if (maskedImageLatents !== undefined) {
    if (maskedImageLatents.shape.length !== 4 || maskedImageLatents.shape[1] !== channels) {
      throw expected(`a Tensor of shape (images, ${channels}, height, width)`, 'maskedImageLatents', maskedImageLatents)
    }
    return scope.keep(repeatBatch(maskedImageLatents, encoding.images))
  }
  if (pixels.shape[1] === channels) {
    throw expected('a Tensor beside an image that is given as latents', 'maskedImageLatents', undefined)
  }
  return scope.keep(await encodeImages(vae, blankMasked(pixels, mask, scope), encoding))
}

function pasteBack({ crop }: InpaintInputs): Prepared['paste'] {
  return crop && ((image) => new VaeImageProcessor().applyOverlay(crop.mask, crop.original, image, crop.box))
}
