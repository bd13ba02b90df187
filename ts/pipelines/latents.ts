import { expected } from '../errors.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { type Generator, randnTensor } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import type { NoiseSource } from './seeds.ts'

/**
 * Initial latents of pure noise: the given ones or new ones, times the sampler's first noise level. The caller owns the result.
 *
 * Throws `InvalidArgumentError` if `latents` has another shape.
 */
export function prepareLatents(shape: readonly number[], noise: NoiseSource, scheduler: Scheduler, latents?: Tensor): Tensor {
  using unit = initialNoise(shape, noise, latents)
  return unit.mul(scheduler.initNoiseSigma)
}

/** Noise of unit variance: the caller's (as a new handle, checked for its shape), or drawn from the call's generators. */
export function initialNoise(shape: readonly number[], noise: NoiseSource, latents?: Tensor): Tensor {
  if (latents === undefined) {
    return randnTensor(shape, noise.generator)
  }
  checkLatents(shape, latents)
  return latents.to('f32')
}

/** Throws `InvalidArgumentError` unless `latents` has this shape. */
export function checkLatents(shape: readonly number[], latents: Tensor | undefined): void {
  if (latents !== undefined && String(latents.shape) !== String(shape)) {
    throw expected(`a Tensor of shape (${shape.join(', ')})`, 'latents', latents)
  }
}

/** The part of a scheduler's timesteps that runs. */
export interface RunSteps {
  timesteps: readonly number[]
  /** Index of the first of them in the sampler's own list. */
  begin: number
}

/**
 * Leaves out the first steps: `min(int(n * strength), n)` of `n` steps run. Tells the scheduler where the run begins.
 *
 * Throws `InvalidArgumentError` if no step is left. Source: diffusers `StableDiffusionImg2ImgPipeline.get_timesteps`.
 */
export function strengthSteps(scheduler: Scheduler, numInferenceSteps: number, strength: number): RunSteps {
  const kept = Math.min(Math.trunc(numInferenceSteps * strength), numInferenceSteps)
  const begin = Math.max(numInferenceSteps - kept, 0) * scheduler.order
  if (begin >= scheduler.timesteps.length && scheduler.expectedCalls === undefined) {
    throw expected(`at least ${1 / numInferenceSteps}, so that one of ${numInferenceSteps} steps runs,`, 'strength', strength)
  }
  return { timesteps: scheduler.beginAt(begin), begin: scheduler.expectedCalls === undefined ? begin : 0 }
}

/**
 * Encodes pixels (N, 3, H, W) in [-1, 1] to scaled latents for `images` images, drawing from the VAE's posterior.
 *
 * A single generator draws for the N given pictures before they are repeated. A list of generators draws for each image alone:
 * for all images with `spread: 'images'`, for the N given pictures otherwise. Latents instead of pixels are used as they are.
 * Throws `InvalidArgumentError` if N does not divide `images`. Source: diffusers `prepare_latents`, `_encode_vae_image`.
 */
export async function encodeImages(
  vae: AutoencoderKL,
  pixels: Tensor,
  {
    images,
    generator,
    spread,
    signal,
  }: { images: number; generator: Generator | Generator[]; spread: 'images' | 'given'; signal?: AbortSignal },
): Promise<Tensor> {
  const given = checkDivides(pixels, images, 'image')
  if (pixels.shape[1] === vae.config.latent_channels) {
    return repeatBatch(pixels, images)
  }
  using scope = new Scope()
  const { latentDist } = await vae.encode(pixels, { signal })
  const mean = scope.keep(latentDist.mean)
  const logvar = scope.keep(latentDist.logvar)
  const scaling = vae.config.scaling_factor
  const rows = Array.isArray(generator) && spread === 'images' ? images : given
  const std = scope.keep(scope.keep(logvar.mul(0.5)).exp())
  const noise = scope.keep(randnTensor([rows, ...mean.shape.slice(1)], Array.isArray(generator) ? generator.slice(0, rows) : generator))
  const spreadOut = (tensor: Tensor): Tensor => scope.keep(repeatBatch(tensor, rows))
  const drawn = scope.keep(scope.keep(noise.mul(spreadOut(std))).add(spreadOut(mean)))
  return repeatBatch(scope.keep(drawn.mul(scaling)), images)
}

/** Returns the batch size of a tensor; throws `InvalidArgumentError` unless it divides the number of images. */
export function checkDivides(tensor: Tensor, images: number, name: string): number {
  const given = tensor.shape[0] ?? 0
  if (given === 0 || images % given !== 0) {
    throw expected(`a number of images that divides ${images}`, name, tensor)
  }
  return given
}

/** Repeats the whole batch (a b a b) up to `images` rows; a new handle in any case. */
export function repeatBatch(tensor: Tensor, images: number): Tensor {
  const times = images / (tensor.shape[0] ?? 1)
  return times <= 1 ? tensor.clone() : tensor.repeat([times, ...tensor.shape.slice(1).map(() => 1)])
}
