import { z } from 'zod'
import type { FreeInitOptions } from '../video/free-init.ts'
import type { FreeNoiseOptions } from '../video/free-noise.ts'
import type { PromptTravel } from '../video/prompt-travel.ts'
import type { Video } from '../video/video.ts'
import { commonShape } from './common-options.ts'
import type { CommonOptions, LatentsOptions, PipelineImageInput, SizeOptions } from './generate-options.ts'
import { option } from './option.ts'
import { imageToImageSchema, latentsShape, sizeShape } from './options.ts'
import type { ImagesResult, Results } from './result.ts'

/** Options of every pipeline that makes videos; `numImagesPerPrompt` counts videos. */
export interface VideoOptions extends CommonOptions, SizeOptions, LatentsOptions {
  /** Prompts that hold from later frames on, of which `prompt` is the first; the embeddings blend in between. */
  promptTravel?: PromptTravel
  /** The same for `negativePrompt`. */
  negativePromptTravel?: PromptTravel
  /** More frames than the adapter was trained with, by windows. @default off */
  freeNoise?: FreeNoiseOptions
  /** Several rounds for steadier videos. @default off */
  freeInit?: FreeInitOptions
  /** Frames per second of the result. @default 8 */
  fps?: number
}

/** Options of `AnimateDiffPipeline.generate`. */
export interface AnimateDiffOptions extends VideoOptions {
  /** Frames of each video, at most `motion_max_seq_length` of the adapter without `freeNoise`. @default 16 */
  numFrames?: number
}

/** Options of `AnimateDiffVideoToVideoPipeline.generate`. */
export interface AnimateDiffVideoToVideoOptions extends VideoOptions {
  /** Frames of one video to start from, in order, or several videos. */
  video: readonly PipelineImageInput[] | Video | readonly Video[]
  /** How much to change, above 0 to 1: that share of the steps runs. @default 0.8 */
  strength?: number
  /** Run `numInferenceSteps` steps whatever the strength. @default false */
  enforceInferenceSteps?: boolean
}

/** Result of `outputType: 'image'`: videos; `images` has the frames of all of them. */
export interface VideosResult extends ImagesResult {
  videos: [Video, ...Video[]]
}

/** Result types by `outputType`: 'latent' gives (videos, channels, frames, h, w), 'tensor' (videos, frames, 3, H, W). */
export interface VideoResults extends Omit<Results, 'image'> {
  image: VideosResult
}

const travel = z.record(z.string().regex(/^\d+$/), z.string())
const values = z.custom<object>((value) => typeof value === 'object' && value !== null && !Array.isArray(value))

const videoShape = {
  promptTravel: option(travel.optional(), 'an object of texts by frame number', 'Prompts that hold from later frames on.'),
  negativePromptTravel: option(travel.optional(), 'an object of texts by frame number', 'Negative prompts that hold from later frames on.'),
  freeNoise: option(values.optional(), 'an object of options', 'Windows for videos of more frames than the adapter knows.'),
  freeInit: option(values.optional(), 'an object of options', 'Several rounds for steadier videos.'),
  fps: option(z.number().min(0.1).max(240).default(8), 'a number from 0.1 to 240', 'Frames per second of the result.'),
} as const

/** Options of text to video. */
export const animateDiffSchema = z.strictObject({
  ...commonShape,
  ...sizeShape,
  ...latentsShape,
  ...videoShape,
  numFrames: option(z.int().min(1).max(4096).default(16), 'a whole number from 1 to 4096', 'Frames of each video.'),
})

/** Options of video to video. */
export const animateDiffVideoToVideoSchema = z.strictObject({
  ...commonShape,
  ...sizeShape,
  ...latentsShape,
  ...videoShape,
  video: option(
    z.custom<object>((value) => typeof value === 'object' && value !== null),
    'an array of images, a Video or an array of Videos',
    'Frames to start from.',
  ),
  strength: option(
    z.number().gt(0).max(1).default(0.8),
    'a number above 0, up to 1',
    imageToImageSchema.shape.strength.description ?? 'How much to change.',
  ),
  enforceInferenceSteps: option(z.boolean().default(false), 'true or false', 'Run all steps whatever the strength.'),
})
