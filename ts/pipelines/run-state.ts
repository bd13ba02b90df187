import { checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import type { Guidance } from '../guidance/guidance.ts'
import { Tensor } from '../tensor.ts'
import type { DenoiseOptions, StepState } from './denoise-options.ts'
import { PromptBatch } from './prompt-batch.ts'

/** The tensors that a run owns from one step to the next. */
export class RunState implements Disposable {
  latents: Tensor
  predicted: Tensor | undefined
  guidance: Guidance
  readonly prompts: PromptBatch
  #scales: readonly number[]

  constructor({ latents, guidance, guidanceScales = [], conditioning }: DenoiseOptions) {
    this.latents = latents
    this.guidance = guidance
    this.prompts = new PromptBatch(conditioning)
    this.#scales = guidanceScales
  }

  /** Sets the scale that the schedule has for a UNet call. */
  enter(index: number): void {
    const scale = this.#scales[index] ?? this.#scales.at(-1)
    if (scale !== undefined && scale !== this.guidance.scale) {
      this.guidance = this.guidance.withScale(scale)
    }
  }

  /** Takes one scale for the rest of the run. */
  fixScale(scale: number): void {
    this.#scales = []
    this.guidance = this.guidance.withScale(scale)
  }

  /** Takes other latents, and with them what they are predicted to become. */
  replace(latents: Tensor, predicted: Tensor | undefined): void {
    this.latents.dispose()
    this.latents = latents
    this.predicted?.dispose()
    this.predicted = predicted
  }

  [Symbol.dispose](): void {
    this.latents.dispose()
    this.predicted?.dispose()
    this.prompts.dispose()
  }
}

/** Lets the hook of a call see the state after a step, and takes what it replaces. */
export async function callHook({ onStepEnd }: DenoiseOptions, state: RunState, index: number, timestep: number): Promise<void> {
  if (onStepEnd === undefined) {
    return
  }
  const negative = state.prompts.negative(index)
  const answer = await onStepEnd(index, timestep, {
    latents: state.latents.clone(),
    promptEmbeds: state.prompts.positive(index).clone(),
    negativePromptEmbeds: negative?.clone(),
    guidanceScale: state.guidance.scale,
  })
  if (answer === undefined || answer === null) {
    return
  }
  const { latents, guidanceScale, ...embeds } = readAnswer(answer, state.latents)
  if (latents !== undefined) {
    state.replace(latents.to('f32'), undefined)
  }
  if (guidanceScale !== undefined) {
    state.fixScale(guidanceScale)
  }
  state.prompts.replace(embeds)
}

/** Checks what a hook returned; throws `InvalidArgumentError` that names the bad part. */
function readAnswer(answer: unknown, current: Tensor): Partial<StepState> {
  if (typeof answer !== 'object' || answer === null) {
    throw expected('an object of replacements or nothing', 'the result of callbackOnStepEnd', answer)
  }
  const { latents, guidanceScale, ...embeds } = answer as Partial<StepState>
  if (latents !== undefined && (!(latents instanceof Tensor) || String(latents.shape) !== String(current.shape))) {
    throw expected(`a Tensor of shape (${current.shape.join(', ')})`, 'latents', latents)
  }
  if (guidanceScale !== undefined) {
    checkNumber('guidanceScale', guidanceScale)
  }
  return { latents, guidanceScale, ...embeds }
}
