import { performance } from 'node:perf_hooks'
import { throwIfAborted } from '../abort.ts'
import { checkNumber } from '../checks.ts'
import { AbortError, expected } from '../errors.ts'
import type { Guidance, GuidanceRow } from '../guidance/guidance.ts'
import type { UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import type { Generator } from '../random.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { repeatBatch } from './latents.ts'
import { PromptBatch, type RunConditioning } from './prompt-batch.ts'
import { mergeInputs, type UNetInputs } from './unet-inputs.ts'

export type { UNetInputs } from './unet-inputs.ts'

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
  /** @default the sampler's own; 0 for TCD, as diffusers' pipelines have it */
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

/**
 * The denoising loop: for each timestep one UNet call on the batch of prompt rows, guidance, one sampler step.
 *
 * Throws `AbortError` on abort, unless `onAbort` is 'return-partial' and a step is done. Source: diffusers `StableDiffusionPipeline.__call__`.
 */
export async function denoise(options: DenoiseOptions): Promise<Denoised> {
  const { timesteps, signal } = options
  using state = new RunState(options)
  const started = performance.now()
  let index = 0
  try {
    for (const timestep of timesteps) {
      throwIfAborted(signal)
      await step(options, state, index, timestep)
      index += 1
      await options.onStep?.({
        index: index - 1,
        total: options.scheduler.expectedCalls ?? timesteps.length,
        timestep,
        elapsedMs: performance.now() - started,
        predicted: state.predicted ?? state.latents,
      })
    }
    return { latents: state.latents.clone(), steps: index, partial: false }
  } catch (error) {
    if (error instanceof AbortError && options.onAbort === 'return-partial' && index > 0) {
      return { latents: (state.predicted ?? state.latents).clone(), steps: index, partial: true }
    }
    throw error
  }
}

/** The tensors that a run owns from one step to the next. */
class RunState implements Disposable {
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

async function step(options: DenoiseOptions, state: RunState, index: number, timestep: number): Promise<void> {
  const { scheduler, generator } = options
  const { eta = scheduler.config._class_name === 'TCDScheduler' ? 0 : undefined } = options
  using scope = new Scope()
  state.enter(index)
  const { rows } = state.guidance
  const { latents } = state
  const total = options.timesteps.length
  const predictions: Tensor[] = []
  for (const group of state.guidance.calls === 'sequential' ? rows.map((row) => [row]) : [rows]) {
    predictions.push(...(await predict(options, state.prompts, { index, total, timestep, latents, rows: group, scope })))
  }
  const guided = scope.keep(state.guidance.combine(predictions, { index, total, timestep }))
  const unconditional = predictions[Math.max(0, rows.map(({ prompt }) => prompt).lastIndexOf('negative'))]
  const { prevSample, predOriginalSample } = scheduler.step(guided, timestep, latents, { generator, eta, unconditional })
  const next = options.afterStep?.(prevSample, index) ?? prevSample
  if (next !== prevSample) {
    scope.keep(prevSample)
  }
  state.replace(next, predOriginalSample)
  await callHook(options, state, index, timestep)
}

/** One UNet call: a prediction for each row. */
async function predict(
  { unet, scheduler, conditions = [], signal }: DenoiseOptions,
  prompts: PromptBatch,
  at: Omit<UNetStep, 'sample' | 'text'>,
): Promise<Tensor[]> {
  const { index, timestep, latents, rows, scope } = at
  const images = latents.shape[0] ?? 1
  const batch = rows.length === 1 ? latents : scope.keep(repeatBatch(latents, rows.length * images))
  const sample = scope.keepNew(scheduler.scaleModelInput(batch, timestep), batch)
  const view: UNetStep = { ...at, sample, text: (own) => prompts.inputs(own, index) }
  let inputs: UNetInputs = {}
  for (const condition of conditions) {
    inputs = mergeInputs(inputs, await condition(view), scope)
  }
  const { sample: input = sample, ...extra } = inputs
  const given = { ...prompts.inputs(rows, index), ...perturbation(rows, images), ...extra, signal }
  const output = scope.keep((await unet.forward(input, timestep, given)).sample)
  return rows.length === 1 ? [output] : output.chunk(rows.length).map((part) => scope.keep(part))
}

/** The rows at the end of the batch that are perturbed. */
function perturbation(rows: readonly GuidanceRow[], images: number): Pick<UNetForwardOptions, 'perturbed'> {
  const perturbed = rows.filter((row) => row.perturb !== undefined)
  const [{ perturb: layers } = {}] = perturbed
  return layers === undefined ? {} : { perturbed: { layers, samples: perturbed.length * images } }
}

async function callHook({ onStepEnd }: DenoiseOptions, state: RunState, index: number, timestep: number): Promise<void> {
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
