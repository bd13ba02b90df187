import { checkFreeNoise, freeNoiseLatents } from '../video/free-noise.ts'
import { type AnimateDiffComponents, animateDiff } from './animatediff-base.ts'
import { type AnimateDiffOptions, animateDiffSchema } from './animatediff-options.ts'
import { videoRun } from './animatediff-run.ts'
import { checkLatents, initialNoise } from './latents.ts'
import { pictureSize } from './picture-size.ts'
import type { Task, TaskHost } from './task.ts'

const textToVideo: Task<{ video: AnimateDiffOptions }, TaskHost<AnimateDiffComponents>> = {
  options: { video: animateDiffSchema },
  async begin(call, pipe, scope) {
    const { options, images, noise, scheduler } = call
    const factor = pipe.vaeScaleFactor
    const frames = options.numFrames ?? 16
    const { height, width } = pictureSize(options, { unet: pipe.unet, factor, multiple: Math.max(8, factor) })
    const set = (count: number): readonly number[] => {
      scheduler.setTimesteps(count)
      return scheduler.timesteps
    }
    const video = videoRun(pipe, call, frames, { set, count: options.numInferenceSteps })
    const shape = [images, pipe.unet.config.in_channels, frames, Math.floor(height / factor), Math.floor(width / factor)]
    const freeNoise = options.freeNoise && checkFreeNoise(options.freeNoise, frames)
    const given = options.latents !== undefined
    const short = [...shape.slice(0, 2), freeNoise?.contextLength ?? frames, ...shape.slice(3)]
    if (given && freeNoise !== undefined && String(options.latents?.shape) === String(short)) {
      checkLatents(short, options.latents)
    }
    const drawn = scope.keep(initialNoise(given && freeNoise ? [...(options.latents?.shape ?? shape)] : shape, noise, options.latents))
    const placed =
      freeNoise === undefined
        ? drawn
        : scope.keep(freeNoiseLatents(drawn, { given, frames, options: freeNoise, generator: noise.generator }))
    checkLatents(shape, placed)
    return { latents: placed.mul(scheduler.initNoiseSigma), timesteps: scheduler.timesteps, begin: 0, height, width, ...video }
  },
}

/**
 * Text to video with Stable Diffusion 1.x and a motion adapter. Source: diffusers `AnimateDiffPipeline`; arXiv:2307.04725.
 *
 * ```ts
 * const motionAdapter = await MotionAdapter.fromPretrained('animatediff-motion-adapter-v1-5-3')
 * await using pipe = await AnimateDiffPipeline.fromPretrained('stable-diffusion-v1-5', { motionAdapter })
 * const { videos } = await pipe.generate({ prompt: 'a rocket takes off', numFrames: 16, seed: 7 })
 * await videos[0].save('rocket.webp')
 * ```
 */
export class AnimateDiffPipeline extends animateDiff(textToVideo) {}
