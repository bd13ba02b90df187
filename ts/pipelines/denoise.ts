import { performance } from 'node:perf_hooks'
import { throwIfAborted } from '../abort.ts'
import { AbortError } from '../errors.ts'
import type { GuidanceRow } from '../guidance/guidance.ts'
import type { UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import { prepareStep } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import type { Denoised, DenoiseOptions, UNetStep } from './denoise-options.ts'
import { repeatBatch } from './latents.ts'
import type { PromptBatch } from './prompt-batch.ts'
import { callHook, RunState } from './run-state.ts'
import { mergeInputs, type UNetInputs } from './unet-inputs.ts'

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

async function step(options: DenoiseOptions, state: RunState, index: number, timestep: number): Promise<void> {
  const { scheduler, generator, eta = scheduler.pipelineEta } = options
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
  await prepareStep(scheduler, timestep, latents, generator)
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
    inputs = await mergeInputs(inputs, await condition(view), scope)
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
