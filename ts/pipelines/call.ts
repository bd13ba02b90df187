import { ConfigError, expected, InvalidArgumentError } from '../errors.ts'
import { CFGPlusPlusGuidance } from '../guidance/cfg-plus-plus.ts'
import { ClassifierFreeGuidance, type Guidance } from '../guidance/guidance.ts'
import { peakScale } from '../guidance/schedule.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { chooseWildcards, writtenPrompts } from '../prompt/encode-prompt.ts'
import type { WrittenPrompt } from '../prompt/read-prompt.ts'
import type { SetTimestepsOptions } from '../schedulers/options.ts'
import { type ModelFamily, resolveScheduler } from '../schedulers/resolve.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { checkPrompts, type PromptOptionsXL } from './check-prompts.ts'
import type { CommonOptions } from './generate-options.ts'
import { type NoiseSource, noiseSource } from './seeds.ts'

type Defaulted = 'numInferenceSteps' | 'guidanceScale' | 'guidanceRescale' | 'numImagesPerPrompt' | 'outputType' | 'preview' | 'onAbort'

/** Options after their defaults are filled in. */
export type Filled<O extends CommonOptions = CommonOptions> = O & Required<Pick<CommonOptions, Defaulted>>

/** What is settled about a call before any model runs. */
export interface Call<O extends CommonOptions = CommonOptions> {
  options: Filled<O>
  /** Images in all. */
  images: number
  noise: NoiseSource
  guidance: Guidance
  /** This call's own, its timesteps set. */
  scheduler: Scheduler
  /** Inference steps that the scheduler was set to. */
  steps: number
  signal: AbortSignal
}

/** Settles a call: checks prompts, seeds and timesteps, and makes a scheduler of its own. Throws `InvalidArgumentError`. */
export function planCall<O extends CommonOptions>(
  given: Filled<O>,
  {
    unet,
    scheduler,
    schedule,
    signal,
  }: { unet: UNet2DConditionModel; scheduler: Scheduler; schedule: SetTimestepsOptions; signal: AbortSignal },
): Call<O> {
  const images = checkPrompts(given) * given.numImagesPerPrompt
  checkEmbedsWidth(given, unet)
  unet.matchingLayers(given.guidance?.rows.flatMap(({ perturb = [] }) => perturb) ?? [])
  const noise = noiseSource(given, images)
  const options = written(given, noise)
  const embedded = unet.config.time_cond_proj_dim !== null
  const own = ownScheduler(options, scheduler, unet)
  const steps = setTimesteps(own, options, schedule)
  const scales = { scale: embedded ? 1 : peakScale(options.guidanceScale), rescale: options.guidanceRescale }
  return {
    options,
    images,
    noise,
    guidance:
      options.guidance ?? (own.needsUnconditional && !embedded ? new CFGPlusPlusGuidance(scales) : new ClassifierFreeGuidance(scales)),
    scheduler: own,
    steps,
    signal,
  }
}

/** Puts styles on the prompts and chooses wildcards: then each image has a prompt of its own. */
function written<O extends CommonOptions>(options: Filled<O>, noise: NoiseSource): Filled<O> {
  const { prompt, wildcards, styles, numImagesPerPrompt } = options
  const { negativePrompt, prompt2, negativePrompt2 } = options as PromptOptionsXL
  if (prompt === undefined || (wildcards === undefined && styles === undefined)) {
    return options
  }
  const texts = { negativePrompt, prompt2, negativePrompt2, styles, numImagesPerPrompt: wildcards === undefined ? 1 : numImagesPerPrompt }
  const prompts = writtenPrompts(prompt, texts).map((text, i) =>
    wildcards === undefined ? text : chooseWildcards(text, wildcards, noise.seeds[i] ?? i),
  )
  const list = (name: keyof WrittenPrompt): string[] | undefined => {
    const values = prompts.flatMap((text) => text[name] ?? [])
    return values.length === prompts.length ? values : undefined
  }
  return {
    ...options,
    prompt: list('prompt'),
    negativePrompt: list('negativePrompt'),
    ...(prompt2 !== undefined && { prompt2: list('prompt2') }),
    ...(negativePrompt2 !== undefined && { negativePrompt2: list('negativePrompt2') }),
    numImagesPerPrompt: wildcards === undefined ? numImagesPerPrompt : 1,
  }
}

/** The family of a model that Align Your Steps has noise levels for, by the width of its context. */
const families: Readonly<Record<string, ModelFamily>> = { 768: 'sd15', 2048: 'sdxl' }

/** A scheduler for one call: the pipeline's, or the one that the call names. */
function ownScheduler({ scheduler: wanted, eta }: CommonOptions, base: Scheduler, unet: UNet2DConditionModel): Scheduler {
  try {
    const family = families[String(unet.config.cross_attention_dim)]
    const found = wanted === undefined ? base : resolveScheduler(wanted, base.config, { family })
    if (found.config.thresholding === true) {
      throw new ConfigError('Expected false (dynamic thresholding is for pixels, not for latents) for thresholding but received true')
    }
    return eta !== undefined && 'eta' in found.config ? resolveScheduler({ eta }, found.config) : found.clone()
  } catch (error) {
    throw typeof wanted === 'string' && error instanceof ConfigError ? new InvalidArgumentError(error.message, { cause: error }) : error
  }
}

/** Sets the timesteps and returns their number of inference steps. Source: diffusers `retrieve_timesteps`. */
function setTimesteps(scheduler: Scheduler, { numInferenceSteps, timesteps, sigmas }: Filled, schedule: SetTimestepsOptions): number {
  if (timesteps !== undefined && sigmas !== undefined) {
    throw expected('at most one of timesteps and sigmas', 'timesteps', timesteps)
  }
  if (timesteps === undefined && sigmas === undefined) {
    scheduler.setTimesteps(numInferenceSteps, schedule)
    return numInferenceSteps
  }
  scheduler.setTimesteps(undefined, { ...schedule, timesteps, sigmas })
  return scheduler.timesteps.length
}

function checkEmbedsWidth({ promptEmbeds }: CommonOptions, unet: UNet2DConditionModel): void {
  const width = unet.config.cross_attention_dim
  if (promptEmbeds !== undefined && typeof width === 'number' && promptEmbeds.shape[2] !== width) {
    throw expected(`a Tensor of shape (prompts, tokens, ${width})`, 'promptEmbeds', promptEmbeds)
  }
}
