import { expected } from '../errors.ts'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { randnTensor } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { Video } from '../video/video.ts'
import { type AnimateDiffComponents, animateDiff } from './animatediff-base.ts'
import { type AnimateDiffVideoToVideoOptions, animateDiffVideoToVideoSchema } from './animatediff-options.ts'
import { videoRun } from './animatediff-run.ts'
import type { Call } from './call.ts'
import type { PipelineImageInput } from './generate-options.ts'
import { checkDivides, encodeImages, type RunSteps, repeatBatch, strengthSteps } from './latents.ts'
import { pictureSize } from './picture-size.ts'
import { loadPictures } from './pictures.ts'
import type { Task, TaskHost } from './task.ts'

/** Frames that the autoencoder sees at once; also how the noise of its posterior is drawn. Source: diffusers `decode_chunk_size`. */
const CHUNK = 16

const videoToVideo: Task<{ video: AnimateDiffVideoToVideoOptions }, TaskHost<AnimateDiffComponents>> = {
  options: { video: animateDiffVideoToVideoSchema },
  async begin(call, pipe, scope) {
    const { options, scheduler } = call
    const { strength = 0.8 } = options
    const factor = pipe.vaeScaleFactor
    const size = pictureSize(options, { unet: pipe.unet, factor, multiple: Math.max(8, factor) })
    const set = (count: number): readonly number[] => {
      scheduler.setTimesteps(count)
      return strengthSteps(scheduler, count, strength).timesteps
    }
    const steps = options.enforceInferenceSteps
      ? allSteps(scheduler, options.numInferenceSteps, strength)
      : strengthSteps(scheduler, call.steps, strength)
    const clean = scope.keep(options.latents?.clone() ?? (await encodeVideos(call, pipe.vae, size, scope)))
    const [, , frames = 1] = clean.shape
    const count = options.enforceInferenceSteps ? options.numInferenceSteps : Math.trunc(options.numInferenceSteps * strength)
    const video = videoRun(pipe, call, frames, { set, count, strength })
    const keep = options.latents !== undefined && !options.enforceInferenceSteps
    const latents = keep ? clean.clone() : noised(clean, call, steps, scope)
    return { latents, ...steps, ...size, ...video, parameters: { ...video.parameters, strength } }
  },
}

/** Video to video: noise is added to the frames, and the last part of the steps runs. Source: diffusers `AnimateDiffVideoToVideoPipeline`. */
export class AnimateDiffVideoToVideoPipeline extends animateDiff(videoToVideo) {}

/** Noise is drawn frame by frame where it is added to a video, and channel by channel where to latents, as the reference does. */
function noised(
  clean: Tensor,
  { options, noise, scheduler, images }: Call<AnimateDiffVideoToVideoOptions>,
  steps: RunSteps,
  scope: Scope,
): Tensor {
  const at = Array.from({ length: images }, () => steps.timesteps[0] ?? 0)
  if (options.latents !== undefined) {
    return scheduler.addNoise(clean, scope.keep(randnTensor(clean.shape, noise.generator)), at)
  }
  const byFrame = scope.keep(clean.permute([0, 2, 1, 3, 4]))
  const noised = scope.keep(scheduler.addNoise(byFrame, scope.keep(randnTensor(byFrame.shape, noise.generator)), at))
  return noised.permute([0, 2, 1, 3, 4])
}

/** Latents (B, C, F, h, w) of the videos, drawn from the autoencoder's posterior. */
async function encodeVideos(
  { options, images, noise, signal }: Call<AnimateDiffVideoToVideoOptions>,
  vae: AutoencoderKL,
  size: { height: number; width: number },
  scope: Scope,
): Promise<Tensor> {
  const processor = new VaeImageProcessor({ vaeScaleFactor: vae.scaleFactor, vaeLatentChannels: vae.config.latent_channels })
  const parts: Tensor[] = []
  const videos = videosOf(options.video)
  for (const [i, frames] of videos.entries()) {
    const pictures = await loadPictures(frames as PipelineImageInput, { name: 'video', signal })
    const pixels = scope.keep(await processor.preprocess(pictures, { ...size, name: 'video' }))
    const generator = Array.isArray(noise.generator) ? (noise.generator[i] ?? []) : noise.generator
    const chunks: Tensor[] = []
    for (let from = 0; from < (pixels.shape[0] ?? 0); from += CHUNK) {
      const chunk = scope.keep(pixels.slice(0, from, Math.min(from + CHUNK, pixels.shape[0] ?? 0)))
      const count = chunk.shape[0] ?? 0
      chunks.push(scope.keep(await encodeImages(vae, chunk, { images: count, generator, spread: 'given', signal })))
    }
    parts.push(scope.keep(Tensor.stack([scope.keep(Tensor.cat(chunks))])))
  }
  if (new Set(parts.map(({ shape }) => shape[1])).size !== 1) {
    throw expected('videos with as many frames each', 'video', options.video)
  }
  const all = scope.keep(Tensor.cat(parts))
  checkDivides(all, images, 'video')
  return scope.keep(repeatBatch(all, images)).permute([0, 2, 1, 3, 4])
}

/** The last `count` steps of as many more as the strength asks for. */
function allSteps(scheduler: Scheduler, count: number, strength: number): RunSteps {
  scheduler.setTimesteps(Math.trunc(count / strength))
  const begin = Math.max(0, scheduler.timesteps.length - count)
  scheduler.setBeginIndex(begin)
  return { timesteps: scheduler.timesteps.slice(begin), begin }
}

function videosOf(video: AnimateDiffVideoToVideoOptions['video']): (readonly PipelineImageInput[])[] {
  const list: readonly unknown[] = Array.isArray(video) ? video : [video]
  if (list.length > 0 && list.every((item) => item instanceof Video)) {
    return list.map((item) => item.frames)
  }
  if (!Array.isArray(video) || video.length === 0) {
    throw expected('a non-empty array of images, a Video or an array of Videos', 'video', video)
  }
  return [video as readonly PipelineImageInput[]]
}
