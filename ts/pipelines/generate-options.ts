import type { CallAdapters } from '../adapters/adapter-state.ts'
import type { Guidance } from '../guidance/guidance.ts'
import type { GuidanceScale } from '../guidance/schedule.ts'
import type { ImageInput } from '../image/load-image.ts'
import type { AutoencoderTiny } from '../models/autoencoder-tiny.ts'
import type { Conditioning } from '../prompt/conditioning.ts'
import type { PromptStyle } from '../prompt/styles.ts'
import type { PromptSyntax } from '../prompt/syntax-choice.ts'
import type { Wildcards } from '../prompt/wildcards.ts'
import type { Scheduler, SchedulerConfig } from '../schedulers/scheduler.ts'
import type { Tensor } from '../tensor.ts'
import type { Condition } from './condition.ts'
import type { StepState, UNetCondition } from './denoise-options.ts'
import type { DiffusionPipeline } from './pipeline.ts'
import type { NoiseOptions } from './seeds.ts'

/** A picture, several, or a tensor: pixels (N, 3, H, W) from 0 to 1, or latents (N, 4, h, w). */
export type PipelineImageInput = ImageInput | readonly ImageInput[] | Tensor

// biome-ignore lint/suspicious/noConfusingVoidType: a hook may return nothing
type StepAnswer = Partial<StepState> | undefined | void

/**
 * Called after each step with the state of the run; what it returns takes the place of that state. May be async. The tensors are its
 * own to keep. If it throws, the job rejects with that error.
 */
export type StepCallback = (pipe: DiffusionPipeline, index: number, timestep: number, state: StepState) => StepAnswer | Promise<StepAnswer>

/** Options that every text-conditioned pipeline takes: diffusers' names in camelCase, with diffusers' defaults. */
export interface CommonOptions extends NoiseOptions, CallAdapters {
  /** What the pictures show: one text, or one per prompt. Either this, `conditioning` or `promptEmbeds`. */
  prompt?: string | string[]
  /** What to steer away from: one text for all prompts, or one for each. Unused without guidance. @default '' */
  negativePrompt?: string | string[]
  /** How prompts are read: as diffusers does, or in the syntax of another tool. @default 'plain' */
  promptSyntax?: PromptSyntax
  /** Encoded prompts, made by `encodePrompt`. */
  conditioning?: Conditioning
  /** Share of the run, 0 to 1, before which the empty prompt stands in for the negative one. @default 0 */
  negativePromptFrom?: number
  /** Put around each prompt, in order. */
  styles?: PromptStyle[]
  /** Turns on `{a|b}` and `__name__` in prompts and holds the lines of the names; each image chooses by its own seed. */
  wildcards?: Wildcards
  /** Number of denoising steps, at least 1. @default 50 */
  numInferenceSteps?: number
  /** Own timesteps, descending, instead of a step count; only for samplers that take them. */
  timesteps?: number[]
  /** Own noise levels, descending, instead of a step count; only for samplers that take them. */
  sigmas?: number[]
  /** Weight of the prompt against the negative prompt, off at 1 and below; also one for each step, an interval or a function. @default 7.5 */
  guidanceScale?: GuidanceScale
  /** Share, 0 to 1, in which guidance keeps the contrast of the plain prediction. @default 0 */
  guidanceRescale?: number
  /** Images for each prompt, 1 to 1024. @default 1 */
  numImagesPerPrompt?: number
  /** Share of fresh noise, 0 to 1, for samplers that have it. @default 0 for DDIM, TCD and DPM fast, 1 for those with a or SDE in their name */
  eta?: number
  /** Encoded prompts (prompts, tokens, width). */
  promptEmbeds?: Tensor
  /** Encoded negative prompts, of the same shape. */
  negativePromptEmbeds?: Tensor
  /** Layers of the text encoder to leave out: 1 takes the layer before the last; in the syntax 'a1111' that is 2. @default none */
  clipSkip?: number
  /** Sampler of this call: a name such as 'DPM++ 2M Karras', a config, or an instance (which is copied). @default the pipeline's own */
  scheduler?: string | SchedulerConfig | Scheduler
  /** 'image' gives `images`, 'latent' gives `latents`, 'tensor' gives `tensor` (N, 3, H, W) from 0 to 1. @default 'image' */
  outputType?: 'image' | 'latent' | 'tensor'
  /**
   * Emit `preview` events with pictures of the predicted result, every step or every n-th: small ones by a linear map, or those of a `decoder`
   * (TAESD), for which each such step waits. @default false
   */
  preview?: boolean | { every?: number; decoder?: AutoencoderTiny }
  /**
   * Most memory that the process may take, in bytes; as it must, the run unloads networks while they rest, decodes in tiles and leaves out Winograd's
   * weights. @default what the machine has
   */
  memory?: number
  /** What an abort does: reject, or decode what the last finished step predicts. @default 'throw' */
  onAbort?: 'throw' | 'return-partial'
  /** Image prompts for the adapters of `loadIpAdapter`: one entry for each adapter, each one image or several. */
  ipAdapterImage?: PipelineImageInput | readonly PipelineImageInput[]
  /** Images to steer away from, in the same form: they take the place of the empty image in the unconditional branch. */
  negativeIpAdapterImage?: PipelineImageInput | readonly PipelineImageInput[]
  /** In place of `ipAdapterImage`: embeddings for each adapter, (1, N, D) or (1, N, S, D), with guidance the negative half before them. */
  ipAdapterImageEmbeds?: readonly Tensor[]
  /** Where the images of each adapter count: for each adapter one mask for each image, or (1, N, H, W). @default everywhere */
  ipAdapterMasks?: readonly PipelineImageInput[]
  /** Further conditioning, in any mixture: `controlNet`, `t2iAdapter`, `imagePrompt`, `freeU`. @default none */
  conditions?: readonly (Condition | UNetCondition)[]
  /** How predictions become one, such as `new PerturbedAttentionGuidance()`. @default classifier-free guidance by `guidanceScale` */
  guidance?: Guidance
  /** Called after each step; may replace latents, embeddings and guidance. */
  callbackOnStepEnd?: StepCallback
}

/** What `generate` takes beside its options. */
export interface RunOptions {
  /** Stops the call. */
  signal?: AbortSignal
}

/** The size of the pictures. */
export interface SizeOptions {
  /** Pixels, a multiple of 8. @default what the model was trained on */
  height?: number
  /** Pixels, a multiple of 8. @default what the model was trained on */
  width?: number
}

/** The initial noise. */
export interface LatentsOptions {
  /** Noise of unit variance (images, channels, height / 8, width / 8); scaled to the sampler's first level by the pipeline. */
  latents?: Tensor
}

/** Options of `StableDiffusionPipeline.generate`. */
export interface TextToImageOptions extends CommonOptions, SizeOptions, LatentsOptions {}

/** Options of `StableDiffusionImg2ImgPipeline.generate`. */
export interface ImageToImageOptions extends CommonOptions {
  /** Pictures to start from: one for all prompts, or a number that divides the number of results. */
  image: PipelineImageInput
  /** How much to change, 0 to 1: that share of the steps runs. @default 0.8 */
  strength?: number
}

/** Options of `StableDiffusionInpaintPipeline.generate`. */
export interface InpaintOptions extends CommonOptions, SizeOptions, LatentsOptions {
  /** Picture to change; resized to `width` x `height`. */
  image: PipelineImageInput
  /** White is repainted, black is kept. @default the transparent part of `image` */
  maskImage?: PipelineImageInput
  /** Latents of the picture with the masked part blanked, for 9-channel UNets. @default encoded from `image` */
  maskedImageLatents?: Tensor
  /** Work only on the masked part plus this margin in pixels, enlarged to the full size, and paste the result back. */
  paddingMaskCrop?: number
  /** How much to change, 0 to 1: that share of the steps runs. @default 1 */
  strength?: number
}
