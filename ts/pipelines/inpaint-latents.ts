import { ConfigError, expected } from '../errors.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { randnTensor } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import type { UNetCondition } from './denoise.ts'
import type { InpaintOptions } from './generate-options.ts'
import { blankMasked } from './inpaint-mask.ts'
import { encodeImages, initialNoise, repeatBatch } from './latents.ts'
import { Scope } from './scope.ts'

/** How a UNet inpaints: the kept part is blended back in after each step, or it sees mask and picture as further channels. */
export type InpaintKind = 'blend' | 'concatenate'

/** Tells the kind by the input channels; throws `ConfigError` if the UNet is for neither. */
export function unetKind(unet: UNet2DConditionModel, vae: AutoencoderKL): InpaintKind {
  const channels = vae.config.latent_channels
  const inputs = unet.config.in_channels
  if (inputs !== channels && inputs !== 2 * channels + 1) {
    throw new ConfigError(`Expected in_channels ${channels} or ${2 * channels + 1} in the UNet's config but received ${inputs}`)
  }
  return inputs === channels ? 'blend' : 'concatenate'
}

/** The latents of an inpainting run; all but `latents` belong to the call's scope. */
export interface InpaintLatents {
  /** Where the run starts. */
  latents: Tensor
  /** Its noise, of unit variance. */
  drawn: Tensor
  /** Latents of the whole picture, where they are needed. */
  clean?: Tensor
  /** Latents of the picture without its masked part, for a UNet that sees them. */
  masked?: Tensor
}

/**
 * Makes the latents of an inpainting run, drawing random numbers in the order of diffusers: the picture's posterior (unless a
 * 9-channel run starts from pure noise), the noise, the masked picture's posterior.
 *
 * Source: diffusers `StableDiffusionInpaintPipeline.prepare_latents` and `prepare_mask_latents`.
 */
export async function inpaintLatents({
  call: { options, images, noise, scheduler, signal },
  vae,
  kind,
  pixels,
  mask,
  size,
  timestep,
  scope,
}: {
  call: Call<InpaintOptions>
  vae: AutoencoderKL
  kind: InpaintKind
  pixels: Tensor
  mask: Tensor
  size: { height: number; width: number }
  timestep: number
  scope: Scope
}): Promise<InpaintLatents> {
  const { strength = 1, latents: given, maskedImageLatents } = options
  const shape = [images, vae.config.latent_channels, size.height, size.width]
  const how = { images, generator: noise.generator, spread: noise.perImage ? 'images' : 'given', signal } as const
  const noised = strength < 1 && given === undefined
  const clean = kind === 'blend' || noised ? scope.keep(await encodeImages(vae, pixels, how)) : undefined
  const drawn = scope.keep(initialNoise(shape, noise, given))
  const start = (): Tensor =>
    noised && clean !== undefined ? scheduler.addNoise(clean, drawn, Array.from({ length: images }, () => timestep)) : drawn.mul(scheduler.initNoiseSigma)
  if (kind === 'blend') {
    skipPosterior(pixels, shape, maskedImageLatents, how)
    return { latents: start(), drawn, clean }
  }
  const masked = await maskedLatents(vae, pixels, { mask, maskedImageLatents, how, scope })
  return { latents: start(), drawn, clean, masked }
}

/** A 4-channel UNet has no use for the masked picture, but the reference encodes it: draws what its posterior takes. */
function skipPosterior(
  pixels: Tensor,
  shape: readonly number[],
  given: Tensor | undefined,
  { images, generator, spread }: { images: number; generator: Parameters<typeof encodeImages>[2]['generator']; spread: 'images' | 'given' },
): void {
  if (given !== undefined || pixels.shape[1] === shape[1]) {
    return
  }
  const rows = Array.isArray(generator) && spread === 'images' ? images : (pixels.shape[0] ?? 1)
  randnTensor([rows, ...shape.slice(1)], Array.isArray(generator) ? generator.slice(0, rows) : generator).dispose()
}

async function maskedLatents(
  vae: AutoencoderKL,
  pixels: Tensor,
  { mask, maskedImageLatents, how, scope }: { mask: Tensor; maskedImageLatents?: Tensor; how: Parameters<typeof encodeImages>[2]; scope: Scope },
): Promise<Tensor> {
  const channels = vae.config.latent_channels
  if (maskedImageLatents !== undefined) {
    if (maskedImageLatents.shape.length !== 4 || maskedImageLatents.shape[1] !== channels) {
      throw expected(`a Tensor of shape (images, ${channels}, height, width)`, 'maskedImageLatents', maskedImageLatents)
    }
    return scope.keep(repeatBatch(maskedImageLatents, how.images))
  }
  if (pixels.shape[1] === channels) {
    throw expected('a Tensor beside an image that is given as latents', 'maskedImageLatents', undefined)
  }
  return scope.keep(await encodeImages(vae, blankMasked(pixels, mask, scope), how))
}

/** Adds channels (images, C, h, w) to the UNet's input, for every block of its batch. */
export function concatenate(channels: Tensor): UNetCondition {
  return ({ sample, rows, scope }) => {
    const extra = rows.length === 1 ? channels : scope.keep(channels.repeat([rows.length, 1, 1, 1]))
    return { sample: scope.keep(Tensor.cat([sample, extra], 1)) }
  }
}

/** After each step, puts the kept part back in, with the noise that the next step expects. */
export function reblend({
  clean,
  drawn,
  mask,
  scheduler,
  timesteps,
}: {
  clean: Tensor
  drawn: Tensor
  mask: Tensor
  scheduler: Scheduler
  timesteps: readonly number[]
}): (latents: Tensor, index: number) => Tensor {
  return (latents, index) => {
    using scope = new Scope()
    const next = timesteps[index + 1]
    const kept = next === undefined ? clean : scope.keep(scheduler.addNoise(clean, drawn, [next]))
    const keep = scope.keep(scope.keep(mask.neg()).add(1))
    return scope.keep(keep.mul(kept)).add(scope.keep(mask.mul(latents)))
  }
}
