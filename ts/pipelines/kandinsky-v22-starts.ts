import { ConfigError } from '../errors.ts'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { VQModel } from '../models/vq-model.ts'
import { randnTensor } from '../random.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import type { LatentsOptions, PipelineImageInput } from './generate-options.ts'
import { concatenate, reblend } from './inpaint-steps.ts'
import { kandinskyDenoiser } from './kandinsky-v22-denoiser.ts'
import { keptLatents } from './kandinsky-v22-mask.ts'
import type { KandinskyHint, KandinskyImage, KandinskyMask, KandinskyOptions } from './kandinsky-v22-options.ts'
import { checkDivides, initialNoise, prepareLatents, strengthSteps } from './latents.ts'
import { loadPictures } from './pictures.ts'
import type { Prepared } from './prepared.ts'

/** Makes the latents of a call; temporary tensors belong to `scope`. */
export type LatentsStart<O extends KandinskyOptions> = (call: Call<O>, networks: KandinskyNetworks, scope: Scope) => Promise<Prepared>

/** What the start of a run sees of its pipeline. */
export type KandinskyNetworks = { unet: UNet2DConditionModel; movq: VQModel }
type Size = { height: number; width: number }

/** From pure noise. Source: diffusers `KandinskyV22Pipeline.__call__`. */
export const startFromNoise: LatentsStart<KandinskyOptions & LatentsOptions> = async (call, { unet, movq }) => {
  const { options, images, noise, scheduler } = call
  const size = pictureSize(options, movq)
  const shape = [images, checkChannels(unet, movq.config.latent_channels), ...latentSize(size, movq)]
  return { latents: prepareLatents(shape, noise, scheduler, options.latents), timesteps: scheduler.timesteps, begin: 0, ...size }
}

/** From a picture and noise. Source: diffusers `KandinskyV22Img2ImgPipeline.__call__`, whose height and width change places. */
export const startFromImage: LatentsStart<KandinskyOptions & KandinskyImage> = async (call, networks, scope) => {
  const { options, images, noise, scheduler } = call
  const { movq } = networks
  checkChannels(networks.unet, movq.config.latent_channels)
  const { strength = 0.3 } = options
  const size = pictureSize(options, movq)
  const clean = await encodePictures(options.image, size, call, movq, scope)
  const { timesteps, begin } = strengthSteps(scheduler, call.steps, strength)
  const drawn = scope.keep(randnTensor(clean.shape, noise.generator))
  const at = Array.from({ length: images }, () => timesteps[0] ?? 0)
  return { latents: scheduler.addNoise(clean, drawn, at), timesteps, begin, ...size, parameters: { strength } }
}

/** From noise, with the kept part put back after each step. Source: diffusers `KandinskyV22InpaintPipeline.__call__`. */
export const startFromMask: LatentsStart<KandinskyOptions & KandinskyMask & LatentsOptions> = async (call, { unet, movq }, scope) => {
  const { options, images, noise, scheduler, signal } = call
  const { latent_channels: channels } = movq.config
  checkChannels(unet, 2 * channels + 1)
  const size = pictureSize(options, movq)
  const clean = await encodePictures(options.image, size, call, movq, scope)
  const masks = await loadPictures(options.maskImage, { name: 'maskImage', signal })
  const processor = new VaeImageProcessor({ vaeScaleFactor: movq.scaleFactor })
  const white = scope.keep(await processor.preprocessMask(masks, size))
  checkDivides(white, images, 'maskImage')
  const keep = spread(scope.keep(keptLatents(white, latentSize(size, movq))), call, scope)
  const drawn = scope.keep(initialNoise([images, channels, ...latentSize(size, movq)], noise, options.latents))
  const repaint = scope.keep(scope.keep(keep.neg()).add(1))
  const beside = scope.keep(Tensor.cat([scope.keep(clean.mul(keep)), keep], 1))
  const { timesteps } = scheduler
  return {
    latents: drawn.mul(scheduler.initNoiseSigma),
    timesteps,
    begin: 0,
    ...size,
    conditions: [concatenate(beside)],
    afterStep: reblend({ clean, drawn, mask: repaint, scheduler, timesteps }),
  }
}

/** A start with a picture that the UNet follows. Source: diffusers `KandinskyV22ControlnetPipeline.__call__`. */
export function withHint<O extends KandinskyOptions>(start: LatentsStart<O>): LatentsStart<O & KandinskyHint> {
  return async (call, networks, scope) => {
    const { addition_embed_type: kind } = networks.unet.config
    if (kind !== 'image_hint') {
      throw new ConfigError(`Expected addition_embed_type "image_hint" in the UNet's config for hint but received ${JSON.stringify(kind)}`)
    }
    const begun = await start(call, networks, scope)
    const [, , rows = 1, columns = 1] = begun.latents.shape
    // The network shrinks it by 8, whatever the autoencoder's factor is.
    const size = { height: 8 * rows, width: 8 * columns }
    const pictures = await loadPictures(call.options.hint, { name: 'hint', signal: call.signal })
    const hint = scope.keep(await new VaeImageProcessor({ doNormalize: false }).preprocess(pictures, { ...size, name: 'hint' }))
    checkDivides(hint, call.images, 'hint')
    return { ...begun, denoiser: kandinskyDenoiser(networks.unet, call.scheduler, spread(hint, call, scope)) }
  }
}

/** The size of the result: what is asked for, up to a multiple of the square of MoVQ's factor. Source: `downscale_height_and_width`. */
function pictureSize({ height = 512, width = 512 }: KandinskyOptions, { scaleFactor }: VQModel): Size {
  const up = (pixels: number): number => Math.ceil(pixels / scaleFactor ** 2) * scaleFactor ** 2
  return { height: up(height), width: up(width) }
}

function latentSize({ height, width }: Size, { scaleFactor }: VQModel): [number, number] {
  return [height / scaleFactor, width / scaleFactor]
}

function checkChannels({ sampleChannels }: UNet2DConditionModel, channels: number): number {
  if (sampleChannels !== channels) {
    throw new ConfigError(`Expected a UNet that takes samples of ${channels} channels but received one for ${sampleChannels}`)
  }
  return channels
}

/** Latents of pictures, one for each image; latents instead of pictures are used as they are. */
async function encodePictures(given: PipelineImageInput, size: Size, call: Call, movq: VQModel, scope: Scope): Promise<Tensor> {
  const { images, signal } = call
  const { latent_channels: channels } = movq.config
  const pictures = await loadPictures(given, { name: 'image', signal })
  const processor = new VaeImageProcessor({ vaeScaleFactor: movq.scaleFactor, vaeLatentChannels: channels, resample: 'bicubic' })
  const pixels = scope.keep(await processor.preprocess(pictures, size))
  checkDivides(pixels, images, 'image')
  const latents = pixels.shape[1] === channels ? pixels : scope.keep((await movq.encode(pixels, { signal })).latents)
  return spread(latents, call, scope)
}

/** One row for all images, or one for each prompt, as one row for each image. */
function spread(tensor: Tensor, { images }: Call, scope: Scope): Tensor {
  return scope.keep(tensor.repeatInterleave(images / (tensor.shape[0] ?? 1), 0))
}
