import { checkInteger, checkOneOf, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import type { Generator } from '../random.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { FrameWindows } from './unet-motion-model.ts'

/** How the frames of a window count in the mean over windows. */
export type FrameWeighting = 'flat' | 'pyramid' | 'delayed_reverse_sawtooth'

/** Long videos by windows. Source: diffusers `enable_free_noise`; arXiv:2310.15169. */
export interface FreeNoiseOptions {
  /** Frames of a window, at most `motion_max_seq_length` of the adapter. @default 16 */
  contextLength?: number
  /** Frames between the starts of two windows. @default 4 */
  contextStride?: number
  /** @default 'pyramid' */
  weighting?: FrameWeighting
  /** Noise of the frames after the first window: its own frames shuffled, given latents repeated, or new. @default 'shuffle_context' */
  noiseType?: 'shuffle_context' | 'repeat_context' | 'random'
}

/** Options with their defaults filled in. */
export type FreeNoise = Required<FreeNoiseOptions>

/** Checks the options against the number of frames; throws `InvalidArgumentError` that names the bad one. */
export function checkFreeNoise(options: FreeNoiseOptions, frames: number): FreeNoise {
  const { contextLength = 16, contextStride = 4, weighting = 'pyramid', noiseType = 'shuffle_context' } = checkOptions('freeNoise', options)
  checkInteger('freeNoise.contextLength', contextLength, { min: 1, max: 4096 })
  checkInteger('freeNoise.contextStride', contextStride, { min: 1, max: 4096 })
  checkOneOf('freeNoise.weighting', weighting, ['flat', 'pyramid', 'delayed_reverse_sawtooth'])
  checkOneOf('freeNoise.noiseType', noiseType, ['shuffle_context', 'repeat_context', 'random'])
  if (frames < contextLength) {
    throw expected(`at most ${frames}, the number of frames,`, 'freeNoise.contextLength', contextLength)
  }
  return { contextLength, contextStride, weighting, noiseType }
}

/** The windows of these options. Source: diffusers attention.py `FreeNoiseTransformerBlock._get_frame_weights`. */
export function frameWindows({ contextLength: length, contextStride: stride, weighting }: FreeNoise): FrameWindows {
  const middle = Math.ceil(length / 2)
  const weights = Array.from({ length }, (_, i) => {
    const pyramid = Math.min(i + 1, length - i)
    if (weighting === 'flat') {
      return 1
    }
    if (weighting === 'pyramid') {
      return pyramid
    }
    return i < middle - 1 ? 0.01 : Math.min(middle, length - i)
  })
  return { stride, weights }
}

/**
 * Noise (B, C, F, H, W) for a long video: frames after the first window are shuffled frames of it.
 *
 * `latents` of F frames are taken as they are, those of one window are repeated. The caller owns the result.
 * Source: diffusers free_noise_utils.py `_prepare_latents_free_noise`.
 */
export function freeNoiseLatents(
  latents: Tensor,
  { given, frames, options, generator }: { given: boolean; frames: number; options: FreeNoise; generator: Generator | Generator[] },
): Tensor {
  const { contextLength, noiseType } = options
  const own = latents.shape[2] ?? 0
  if (given && own === frames) {
    return latents.clone()
  }
  if (noiseType === 'repeat_context') {
    using repeated = latents.repeat([1, 1, Math.ceil(frames / own), 1, 1])
    return repeated.slice(2, 0, frames)
  }
  if (given) {
    throw expected(`a Tensor with ${frames} frames, or noiseType 'repeat_context' with ${contextLength},`, 'latents', latents)
  }
  return noiseType === 'random' ? latents.clone() : shuffled(latents, options, generator)
}

function shuffled(latents: Tensor, { contextLength, contextStride }: FreeNoise, generator: Generator | Generator[]): Tensor {
  using scope = new Scope()
  const videos = Array.from({ length: latents.shape[0] ?? 0 }, (_, i) => scope.keep(latents.slice(0, i, i + 1)))
  const frames = latents.shape[2] ?? 0
  const single = Array.isArray(generator) ? undefined : sourceFrames(frames, contextLength, contextStride, generator)
  const parts = videos.map((video, i) => {
    const own = Array.isArray(generator) ? generator[i] : undefined
    const sources = own === undefined ? single : sourceFrames(frames, contextLength, contextStride, own)
    return scope.keep(
      Tensor.cat(
        (sources ?? []).map((source) => scope.keep(video.slice(2, source, source + 1))),
        2,
      ),
    )
  })
  return Tensor.cat(parts)
}

/** For each frame, the frame whose noise it gets. */
function sourceFrames(frames: number, length: number, stride: number, generator: Generator): number[] {
  const sources = Array.from({ length: frames }, (_, i) => i)
  for (let start = length; start < frames; start += stride) {
    const from = Math.max(0, start - length)
    const count = Math.min(frames, from + stride) - from
    using drawn = generator.randperm(count)
    const order = drawn.toArray()
    const before = [...sources]
    for (let i = 0; i < count && start + i < frames; i += 1) {
      sources[start + i] = before[from + Number(order[i])] ?? 0
    }
  }
  return sources
}
