import { expected } from '../errors.ts'
import { framesToBatch } from '../video/frames.ts'
import { checkFreeInit } from '../video/free-init.ts'
import { checkFreeNoise, frameWindows } from '../video/free-noise.ts'
import { conditionPerFrame, UNetMotionModel } from '../video/unet-motion-model.ts'
import type { AnimateDiffComponents } from './animatediff-base.ts'
import { type FreeInitSteps, freeInitCounts, freeInitRounds } from './animatediff-free-init.ts'
import type { VideoOptions } from './animatediff-options.ts'
import type { Call } from './call.ts'
import { finishVideos } from './finish-videos.ts'
import type { Prepared } from './prepared.ts'
import type { TaskHost } from './task.ts'

/** How a run on videos differs: the network, the rounds, the result. */
export function videoRun(
  { unet, components: { motionAdapter } }: TaskHost<AnimateDiffComponents>,
  { options, noise, scheduler }: Call<VideoOptions>,
  frames: number,
  steps: FreeInitSteps,
): Pick<Prepared, 'denoiser' | 'frames' | 'pictures' | 'denoise' | 'finish' | 'parameters'> {
  const freeNoise = options.freeNoise && checkFreeNoise(options.freeNoise, frames)
  const freeInit = options.freeInit && checkFreeInit(options.freeInit)
  const most = motionAdapter.config.motion_max_seq_length
  const [name, length] = freeNoise === undefined ? ['numFrames', frames] : ['freeNoise.contextLength', freeNoise.contextLength]
  if (length > most) {
    const advice = freeNoise === undefined ? ', or freeNoise for more' : ''
    throw expected(`at most ${most}, as the motion adapter was trained with${advice},`, name, length)
  }
  if (freeInit !== undefined && (options.timesteps !== undefined || options.sigmas !== undefined)) {
    throw expected('numInferenceSteps without timesteps or sigmas, beside freeInit,', 'timesteps', options.timesteps ?? options.sigmas)
  }
  const counts = freeInit === undefined ? [] : freeInitCounts(freeInit, steps)
  const denoiser = new UNetMotionModel(unet, motionAdapter, { windows: freeNoise && frameWindows(freeNoise) })
  return {
    denoiser,
    frames: { count: frames, perFrame: (condition) => conditionPerFrame(condition, denoiser) },
    pictures: framesToBatch,
    denoise: freeInit && ((run) => freeInitRounds(run, { freeInit, generator: noise.generator, scheduler, steps, counts })),
    finish: (run) => finishVideos(run, { frames, fps: options.fps ?? 8 }),
    parameters: { numFrames: frames },
  }
}
