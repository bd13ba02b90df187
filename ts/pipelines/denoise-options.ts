import type { Guidance, GuidanceRow } from '../guidance/guidance.ts'
import type { UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import type { Generator } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import type { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import type { RunConditioning } from './prompt-inputs.ts'
import type { UNetInputs } from './unet-inputs.ts'
/** One evaluation of the UNet, as conditions see it. */
export interface UNetStep {
  /** 0-based position in the run. */
  index: number
  total: number
  timestep: number
  /** Latents of the images (B, C, H, W), of videos (B, C, F, H, W), unscaled. */
  latents: Tensor
  /** What the UNet is about to get: one block of B per row, scaled for the sampler. */
  sample: Tensor
  rows: readonly GuidanceRow[]
  /** The text inputs of some rows: the same Tensors at each step as long as the texts are the same. */
  text(rows: readonly GuidanceRow[]): UNetForwardOptions
  /** Ends with the step; put temporary tensors into it. */
  scope: Scope
}

/** Further conditioning as a value: extra input channels, residuals, image prompts. What several add is joined by `mergeInputs`. */
export type UNetCondition = (step: UNetStep) => UNetInputs | Promise<UNetInputs>

/** State after a step, for a hook that may replace any of it. */
export interface StepState {
  latents: Tensor
  promptEmbeds: Tensor
  negativePromptEmbeds?: Tensor
  guidanceScale: number
}

/** How far a run is. */
export interface StepReport {
  index: number
  total: number
  timestep: number
  elapsedMs: number
  /** The finished picture as predicted at this step, where the sampler gives it. */
  predicted: Tensor
}

/** What the loop asks of a network: a `UNet2DConditionModel`, or something around one. */
export interface Denoiser {
  /** One prediction for a batch of latents; the caller owns it. */
  forward(sample: Tensor, timestep: number, options: UNetForwardOptions): Promise<{ sample: Tensor }>
}

/** Everything that a denoising run needs. */
export interface DenoiseOptions {
  unet: Denoiser
  /** A scheduler of this run alone, its timesteps set. */
  scheduler: Scheduler
  /** The part of the scheduler's timesteps to run; a sampler that decides as it goes lets it grow. */
  timesteps: readonly number[]
  /** Initial latents; the run disposes them. */
  latents: Tensor
  conditioning: RunConditioning
  guidance: Guidance
  /** Guidance scale of each UNet call in place of the guidance's own; the last one holds for those beyond the list. */
  guidanceScales?: readonly number[]
  conditions?: readonly UNetCondition[]
  generator?: Generator | Generator[]
  /** @default the sampler's `pipelineEta` */
  eta?: number
  /** Changes the latents after each step (as re-blending does); the result is owned by the run. */
  afterStep?: (latents: Tensor, index: number) => Tensor
  /** Replaces state after each step. */
  onStepEnd?: (index: number, timestep: number, state: StepState) => Promise<unknown>
  /** Watches; its tensors live until it returns, and the next step waits for it. */
  onStep?: (report: StepReport) => void | Promise<void>
  /** @default 'throw' */
  onAbort?: 'throw' | 'return-partial'
  signal?: AbortSignal
}

/** What a run gives; the caller owns the tensors. */
export interface Denoised {
  /** After an abort: the predicted clean latents of the last finished step. */
  latents: Tensor
  /** Finished UNet calls. */
  steps: number
  partial: boolean
}
