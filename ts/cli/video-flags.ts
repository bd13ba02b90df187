import type { Command } from 'commander'
import { AnimateDiffPipeline } from '../pipelines/animatediff.ts'
import type { VideosResult } from '../pipelines/animatediff-options.ts'
import type { PipelineLoadOptions } from '../pipelines/load.ts'
import type { ImagesResult } from '../pipelines/result.ts'
import { MotionAdapter } from '../video/motion-adapter.ts'
import { UsageError } from './exit.ts'
import { loadModel, type ModelFlags, type ModelLoader } from './load-model.ts'
import { wholeNumber } from './whole-number.ts'

/** Extensions of the files that videos are written to. */
export const videoExtensions = ['.webp', '.gif', '.png', '.apng', '.mp4'] as const

/** Adds the flags of videos to `generate`. */
export function addVideoFlags(command: Command): void {
  command
    .option('--motion-adapter <model>', 'make a video with this motion adapter of AnimateDiff; --out may end in .webp, .gif, .png or .mp4')
    .option('--frames <number>', 'frames of the video (default: 16)')
    .option('--fps <number>', 'frames per second of the video (default: 8)')
}

/** The options of a video that the flags ask for, undefined for a picture; throws `UsageError` where they do not fit. */
export function readVideo(flags: Record<string, unknown>, task: string): Record<string, unknown> | undefined {
  const { motionAdapter, frames, fps } = flags
  if (motionAdapter === undefined) {
    if (frames !== undefined || fps !== undefined) {
      throw new UsageError(`Expected --motion-adapter <folder> with ${frames === undefined ? '--fps' : '--frames'}, but it was not given`)
    }
    return undefined
  }
  if (task !== 'textToImage') {
    throw new UsageError('--motion-adapter can be used only without --image')
  }
  if (fps !== undefined && !(Number(fps) >= 0.1 && Number(fps) <= 240)) {
    throw new UsageError(`Expected a number from 0.1 to 240 for --fps but received ${JSON.stringify(fps)}`)
  }
  return {
    ...(frames !== undefined && { numFrames: wholeNumber('--frames', frames, 1) }),
    ...(fps !== undefined && { fps: Number(fps) }),
  }
}

type Loading = Pick<PipelineLoadOptions, 'signal' | 'onProgress'>

/** What loads the pipeline of a video in place of that of a picture, with this motion adapter, read as the flags say. */
export function videoLoader(adapter: string, flags: ModelFlags): ModelLoader<AnimateDiffPipeline, Loading> {
  const { dtype, device, cacheDir, offline } = flags
  const motion = ({ signal }: Loading): Promise<MotionAdapter> =>
    loadModel(MotionAdapter, adapter, { dtype, device, cacheDir, offline }, { signal })
  return {
    fromPretrained: async (model, options) =>
      AnimateDiffPipeline.fromPretrained(model, { ...options, motionAdapter: await motion(options) }),
    fromSingleFile: async (path, options) => AnimateDiffPipeline.fromSingleFile(path, { ...options, motionAdapter: await motion(options) }),
  }
}

/** Writes the videos of a result and says what was written. */
export async function writeVideos(
  result: ImagesResult,
  path: (index: number, seed: number | bigint | undefined) => string,
): Promise<{ path: string; seed: number | bigint | undefined; width: number; height: number; parameters: unknown }[]> {
  const { videos, seeds } = result as VideosResult
  return Promise.all(
    videos.map(async (video, i) => {
      const { width, height, frames } = video
      return { path: await video.save(path(i, seeds[i])), seed: seeds[i], width, height, parameters: frames[0].parameters }
    }),
  )
}
