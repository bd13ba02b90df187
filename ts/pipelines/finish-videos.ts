import { expected } from '../errors.ts'
import type { Image } from '../image/image.ts'
import { Video } from '../video/video.ts'
import type { VideoResults } from './animatediff-options.ts'
import { type FinishedRun, finish } from './finish.ts'

/** Decodes the frames of videos one by one and puts them together; the result's latents keep the shape (videos, C, frames, h, w). */
export async function finishVideos(
  run: FinishedRun,
  { frames, fps }: { frames: number; fps: number },
): Promise<VideoResults[keyof VideoResults]> {
  const { call } = run
  const { seeds } = call.noise
  const perFrame = <T>(list: readonly T[]): T[] => list.flatMap((item) => Array.from({ length: frames }, () => item))
  const options = { ...call.options, numImagesPerPrompt: call.options.numImagesPerPrompt * frames }
  const result = await finish({
    ...run,
    call: { ...call, options, images: call.images * frames, noise: { ...call.noise, seeds: perFrame(seeds) } },
  })
  if (result.latents !== undefined) {
    return { ...result, seeds }
  }
  if (result.tensor !== undefined) {
    using flat = result.tensor
    return { ...result, seeds, tensor: flat.reshape([call.images, frames, ...flat.shape.slice(1)]) }
  }
  const videos = Array.from({ length: call.images }, (_, i) => new Video({ frames: framesOf(result.images, i, frames), fps }))
  const [first, ...others] = videos
  if (first === undefined) {
    throw expected('at least one video', 'prompt', call.options.prompt)
  }
  return { ...result, seeds, videos: [first, ...others] }
}

function framesOf(images: readonly Image[], video: number, frames: number): Image[] {
  return images.slice(video * frames, (video + 1) * frames)
}
