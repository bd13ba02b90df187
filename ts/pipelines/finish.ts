import { performance } from 'node:perf_hooks'
import type { AdaptedComponents } from '../adapters/adapted-components.ts'
import type { Image } from '../image/image.ts'
import type { ControlRecord } from '../image/metadata/adapters.ts'
import type { GenerationParameters } from '../image/metadata/parameters.ts'
import { toImages } from '../image/to-images.ts'
import { Scope } from '../scope.ts'
import { adapterRecords } from './adapter-records.ts'
import type { Call } from './call.ts'
import { applySafetyChecker, decodeLatents, type SafetyChecker, unitPixels } from './decode.ts'
import type { Denoised } from './denoise-options.ts'
import type { PipelineEvent } from './events.ts'
import { guidanceScales } from './guidance-scale.ts'
import type { Savings } from './memory.ts'
import type { Autoencoder } from './pipeline-class.ts'
import type { Prepared } from './prepared.ts'
import type { GenerateResult, ResultInfo, Timings } from './result.ts'

/** A run that has its final latents. */
export interface FinishedRun {
  call: Call
  prepared: Prepared
  denoised: Denoised
  /** What acts on the components. */
  adapted: AdaptedComponents<object>
  /** What the conditions say of themselves. */
  controls: readonly ControlRecord[]
  truncated: string[]
  timings: Omit<Timings, 'decode'>
  vae: Autoencoder
  /** How decoding saves memory. */
  savings?: Savings
  safetyChecker?: SafetyChecker | null
  /** Name of the model, for the metadata. */
  model: string
  /** Name of the pipeline class, for the metadata. */
  pipeline: string
  emit: (event: PipelineEvent<GenerateResult>) => void
}

/** Decodes the latents into the form that the call asked for; with `onAbort: 'return-partial'` an abort does not stop the decoding. */
export async function finish(run: FinishedRun): Promise<GenerateResult> {
  const { call, prepared, denoised, vae, safetyChecker, emit } = run
  const { outputType, onAbort } = call.options
  const begun = performance.now()
  const info = (): ResultInfo => ({
    seeds: call.noise.seeds,
    timings: { ...run.timings, decode: performance.now() - begun },
    truncated: run.truncated,
    partial: denoised.partial,
  })
  if (outputType === 'latent') {
    return { ...info(), latents: denoised.latents.clone() }
  }
  using scope = new Scope()
  const latents = prepared.pictures === undefined ? denoised.latents : scope.keep(prepared.pictures(denoised.latents))
  const decoded = scope.keep(await decodeLatents(vae, latents, onAbort === 'return-partial' ? undefined : call.signal, run.savings))
  const unit = safetyChecker || outputType === 'tensor' ? scope.keep(await unitPixels(decoded)) : undefined
  const checked = safetyChecker && unit ? await applySafetyChecker(safetyChecker, unit) : undefined
  const pixels = scope.keep(checked?.pixels ?? unit)
  emit({ type: 'decode', elapsedMs: performance.now() - begun })
  if (outputType === 'tensor' && pixels) {
    return { ...info(), nsfwContentDetected: checked?.flagged, tensor: scope.release(pixels) }
  }
  const plain = await toImages(pixels ?? decoded, { denormalize: pixels === undefined, parameters: await parametersOf(run) })
  const images = await Promise.all(plain.map((image) => prepared.paste?.(image) ?? image))
  for (const [index, image] of images.entries()) {
    emit({ type: 'image', index, image })
  }
  return { ...info(), nsfwContentDetected: checked?.flagged, images: images as [Image, ...Image[]] }
}

/** What each picture was made with, for its metadata. */
async function parametersOf(run: FinishedRun): Promise<GenerationParameters[]> {
  const { call, prepared, denoised, model, pipeline } = run
  const { options, noise, scheduler, images } = call
  const { numImagesPerPrompt, guidanceScale, guidanceRescale, clipSkip, eta, rng, timesteps, sigmas } = options
  const { promptSyntax = options.conditioning?.syntax, negativePromptFrom = options.conditioning?.negativeFrom ?? 0 } = options
  const at = (text: string | string[] | undefined, i: number): string | undefined =>
    Array.isArray(text) ? text[Math.floor(i / numImagesPerPrompt)] : text
  const prompt = options.conditioning?.prompts.map((item) => item.prompt) ?? options.prompt
  const negativePrompt = options.conditioning?.prompts.map((item) => item.negativePrompt) ?? options.negativePrompt
  const common = {
    numInferenceSteps: timesteps?.length ?? sigmas?.length ?? options.numInferenceSteps,
    guidanceScale: typeof guidanceScale === 'function' ? guidanceScales(call, prepared.timesteps) : guidanceScale,
    scheduler: typeof options.scheduler === 'string' ? options.scheduler : String(scheduler.config._class_name),
    width: prepared.width,
    height: prepared.height,
    model,
    pipeline,
    ...(guidanceRescale > 0 && { guidanceRescale }),
    ...(clipSkip !== undefined && { clipSkip }),
    ...(promptSyntax !== undefined && promptSyntax !== 'plain' && promptSyntax !== 'embeds' && { promptSyntax }),
    ...(negativePromptFrom > 0 && { negativePromptFrom }),
    ...(eta !== undefined && { eta }),
    ...(rng !== undefined && rng !== 'torch-cpu' && { rng }),
    ...(timesteps !== undefined && { timesteps }),
    ...(sigmas !== undefined && { sigmas }),
    ...(denoised.partial && { stoppedAfterSteps: denoised.steps }),
    ...Object.fromEntries(Object.entries(prepared.parameters ?? {}).filter(([, value]) => value !== undefined)),
  }
  const adapters = await adapterRecords(run.adapted, run.controls, [prompt, negativePrompt].flat())
  return Array.from({ length: images }, (_, i) => ({
    prompt: at(prompt, i),
    negativePrompt: at(negativePrompt, i),
    seed: noise.seeds[i],
    ...common,
    ...adapters,
  }))
}
