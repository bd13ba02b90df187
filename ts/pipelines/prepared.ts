import type { Guidance } from '../guidance/guidance.ts'
import type { Image } from '../image/image.ts'
import type { Tensor } from '../tensor.ts'
import type { Condition, ConditionCall } from './condition.ts'
import type { Denoised, DenoiseOptions, Denoiser, UNetCondition } from './denoise-options.ts'
import type { FinishedRun } from './finish.ts'
import type { RunConditioning } from './prompt-inputs.ts'
import type { GenerateResult } from './result.ts'

/** How a pipeline's latents are made: what `prepare` gives to the common run. */
export interface Prepared extends Pick<DenoiseOptions, 'timesteps' | 'latents' | 'conditions' | 'afterStep'> {
  /** What this kind of pipeline adds as conditions, before those of the call. */
  control?: readonly Condition[]
  /** What `encode` gives, of pipelines that need it for their latents. */
  encoded?: Encoded
  /** In place of the pipeline's UNet. */
  denoiser?: Denoiser
  /** Latents of the run as a batch of pictures, where they are something else, as in videos; the caller owns the result. */
  pictures?: (latents: Tensor) => Tensor
  /** Where the run is on videos: pictures of each, and how a condition that knows only pictures sees a step. */
  frames?: { count: number; perFrame(condition: UNetCondition): UNetCondition }
  /** In place of one run of the loop. */
  denoise?: (options: DenoiseOptions) => Promise<Denoised>
  /** In place of decoding the final latents as pictures. */
  finish?: (run: FinishedRun) => Promise<GenerateResult>
  /** In place of classifier-free guidance by the call's options. */
  guidance?: Guidance
  /** Position of the first timestep in the scheduler's own list. */
  begin: number
  height: number
  width: number
  /** The part of the pictures that is worked on, for conditions. */
  cropped?: ConditionCall['cropped']
  /** Last touch on each finished picture. */
  paste?: (image: Image) => Promise<Image>
  /** What the picture's metadata says beside the common options. */
  parameters?: Record<string, unknown>
}

/** Encoded text of a call. */
export interface Encoded {
  conditioning: RunConditioning
  /** In place of the call's guidance, where the prompts ask for more than one. */
  guidance?: Guidance
  truncated: string[]
}
