import { expected } from '../errors.ts'
import type { Guidance, PartWeight } from '../guidance/guidance.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { PromptCache } from '../prompt/cache.ts'
import type { TextComponents, TextComponentsXL } from '../prompt/text-encoders.ts'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { callConditioning } from './conditioning.ts'
import { guidanceScaleEmbedding, guidanceScales, isGuided, plainScale } from './guidance-scale.ts'
import type { Encoded, Prepared } from './prepared.ts'
import { type ConditionedRun, runTracks } from './run-conditioning.ts'

/** What encoding a call needs from its pipeline. */
export interface EncodingCall {
  prepared: Prepared
  components: (TextComponents | TextComponentsXL) & { unet: UNet2DConditionModel }
  cache: PromptCache
  /** Owns the tensors. */
  scope: Scope
  /** SDXL: an absent negative prompt is zeros. */
  zerosForEmptyPrompt?: boolean
  timeIds?: ConditionedRun['timeIds']
}

/** Encodes the prompts of a call, or takes its conditioning, and lays them out over the run. */
export async function encodeCall(
  call: Call,
  { prepared, components, cache, scope, zerosForEmptyPrompt, timeIds }: EncodingCall,
): Promise<Encoded> {
  const { options, guidance, scheduler, signal, steps } = call
  const callsPerStep = scheduler.order
  const guided = isGuided(guidance, guidanceScales(call, prepared.timesteps))
  const conditioning = await callConditioning(options, {
    components,
    guided,
    steps: steps * callsPerStep,
    zerosForEmptyPrompt,
    cache,
    signal,
  })
  if (conditioning !== options.conditioning) {
    scope.keep(conditioning)
  }
  const { parts, ...tracks } = runTracks(conditioning, {
    imagesPerPrompt: options.numImagesPerPrompt,
    calls: prepared.timesteps.length,
    callsPerStep,
    guided: guided || conditioning.composed,
    timeIds,
    scope,
  })
  const dim = components.unet.config.time_cond_proj_dim
  const timestepCond = dim === null ? undefined : scope.keep(guidanceScaleEmbedding(plainScale(options.guidanceScale), dim, call.images))
  return { conditioning: { ...tracks, timestepCond }, truncated: conditioning.truncated, guidance: parts && withParts(guidance, parts) }
}

/** Guidance towards each part of the prompts; throws `InvalidArgumentError` for one that knows a single prompt only. */
function withParts(guidance: Guidance, parts: readonly PartWeight[]): Guidance {
  if (guidance.withParts === undefined) {
    throw expected(`no AND and no weight of the whole prompt with ${guidance.constructor.name}`, 'prompt', parts)
  }
  return guidance.withParts(parts)
}
