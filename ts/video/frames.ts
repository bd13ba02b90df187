import type { Tensor } from '../tensor.ts'

/** (B, C, F, H, W) -> (B F, C, H, W): the frames of a video next to each other. The caller owns the result. */
export function framesToBatch(video: Tensor): Tensor {
  const [batch = 0, channels = 0, frames = 0, height = 0, width = 0] = video.shape
  using framesFirst = video.permute([0, 2, 1, 3, 4])
  return framesFirst.reshape([batch * frames, channels, height, width])
}

/** (B F, C, H, W) -> (B, C, F, H, W). The caller owns the result. */
export function batchToFrames(pictures: Tensor, frames: number): Tensor {
  const [all = 0, channels = 0, height = 0, width = 0] = pictures.shape
  using videos = pictures.reshape([all / frames, frames, channels, height, width])
  return videos.permute([0, 2, 1, 3, 4])
}
