import type { Image } from '../image/image.ts'

/** The prompts were encoded. */
export interface EncodeEvent {
  type: 'encode'
  elapsedMs: number
  /** Text that did not fit into the text encoder, one entry per prompt that lost some. */
  truncated: string[]
}

/** One denoising step is done. */
export interface StepEvent {
  type: 'step'
  /** 1-based. */
  step: number
  /** Number of UNet calls of this run; samplers that call the UNet twice per step count both. */
  total: number
  timestep: number
  /** Noise level of the latents that went into this step, where the sampler has one. */
  sigma?: number
  /** Since the first step began. */
  elapsedMs: number
  /** Estimate for the remaining steps, without decoding. */
  etaMs: number
}

/** Small pictures of what the model predicts as the finished image. */
export interface PreviewEvent {
  type: 'preview'
  step: number
  total: number
  images: Image[]
}

/** The latents were decoded. */
export interface DecodeEvent {
  type: 'decode'
  elapsedMs: number
}

/** One finished image. */
export interface ImageEvent {
  type: 'image'
  index: number
  image: Image
}

/** Everything is done; the job resolves to the same `result`. */
export interface DoneEvent<R> {
  type: 'done'
  result: R
}

/** What a job reports while it runs. */
export type PipelineEvent<R> = EncodeEvent | StepEvent | PreviewEvent | DecodeEvent | ImageEvent | DoneEvent<R>
