import type { z } from 'zod'
import type { SetTimestepsOptions } from '../schedulers/options.ts'
import type { Scope } from '../scope.ts'
import { checkFreeNoise, freeNoiseLatents } from '../video/free-noise.ts'
import { AnimateDiffBase } from './animatediff-base.ts'
import { type AnimateDiffOptions, animateDiffSchema } from './animatediff-options.ts'
import type { Call } from './call.ts'
import { checkLatents, initialNoise } from './latents.ts'
import { pictureSize } from './picture-size.ts'
import type { Prepared } from './prepared.ts'

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
export class AnimateDiffPipeline extends AnimateDiffBase<AnimateDiffOptions> {
  protected override readonly schema: z.ZodObject = animateDiffSchema

  protected override async prepare(call: Call<AnimateDiffOptions>, scope: Scope): Promise<Prepared> {
    const { options, images, noise, scheduler } = call
    const factor = this.vaeScaleFactor
    const frames = options.numFrames ?? 16
    const { height, width } = pictureSize(options, { unet: this.unet, factor, multiple: Math.max(8, factor) })
    const schedule: SetTimestepsOptions = this.schedule(options)
    const set = (count: number): readonly number[] => {
      scheduler.setTimesteps(count, schedule)
      return scheduler.timesteps
    }
    const video = this.videoRun(call, frames, { set, count: options.numInferenceSteps })
    const shape = [images, this.unet.config.in_channels, frames, Math.floor(height / factor), Math.floor(width / factor)]
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
  }
}
