import { checkOptions } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { ClassifierFreeGuidance } from '../guidance/guidance.ts'
import { LearnedVarianceGuidance } from '../guidance/learned-variance.ts'
import { peakScale } from '../guidance/schedule.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { VQModel } from '../models/vq-model.ts'
import { resolveScheduler } from '../schedulers/resolve.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import type { Scope } from '../scope.ts'
import type { Call, Filled } from './call.ts'
import type { CommonOptions } from './generate-options.ts'
import { kandinskyDenoiser } from './kandinsky-v22-denoiser.ts'
import type { ImageEmbeds } from './kandinsky-v22-embeds.ts'
import type { KandinskyOptions } from './kandinsky-v22-options.ts'
import { decoderSlots } from './kandinsky-v22-slots.ts'
import { DiffusionPipeline } from './pipeline.ts'
import type { PipelineOrigin, RunComponents } from './pipeline-class.ts'
import type { Encoded, Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import { noiseSource } from './seeds.ts'
import type { Slots } from './slot.ts'
import type { FamilyTask } from './task.ts'

/** Components of a decoder of Kandinsky 2.2. */
export interface KandinskyV22Components {
  unet: UNet2DConditionModel
  scheduler: Scheduler
  movq: VQModel
}

/** The same, with the autoencoder where every pipeline has it. */
export type KandinskyParts<C> = C & RunComponents & { vae: VQModel }

/** Image embeddings of a call, one row for each image. */
export type CallEmbeds = Pick<ImageEmbeds, 'imageEmbeds'> & Partial<ImageEmbeds>

/** What the pipelines of Kandinsky 2.2 share: a UNet that reads image embeddings and predicts variances, and MoVQ. */
export abstract class KandinskyV22Base<O extends KandinskyOptions, C extends KandinskyV22Components> extends DiffusionPipeline<
  KandinskyParts<C>,
  O,
  Results
> {
  static override readonly slots: Slots = decoderSlots

  constructor(task: FamilyTask<O>, components: C, origin?: PipelineOrigin) {
    const given = checkOptions('components', components)
    super(task, { ...given, vae: given.movq } as KandinskyParts<C>, origin)
    const { encoder_hid_dim_type: kind } = this.unet.config
    if (kind !== 'image_proj') {
      throw new ConfigError(
        `Expected encoder_hid_dim_type "image_proj" in the UNet's config for ${new.target.name} but received ${JSON.stringify(kind ?? null)}`,
      )
    }
  }

  /** The autoencoder. */
  get movq(): VQModel {
    return this.components.movq
  }

  /** How many prompts a call has. */
  protected abstract count(options: O): number

  /** The image embeddings of a call; they belong to `scope`. */
  protected abstract embeds(call: Call<O>, scope: Scope): Promise<CallEmbeds>

  protected override plan(options: Filled<O>, signal: AbortSignal): Call<O> {
    const images = this.count(options) * options.numImagesPerPrompt
    const noise = noiseSource(options, images)
    const own = ownScheduler(options.scheduler, this.scheduler)
    own.setTimesteps(options.numInferenceSteps)
    const plain = new ClassifierFreeGuidance({ scale: peakScale(options.guidanceScale) })
    return {
      options: { ...options, preview: false, guidanceRescale: 0 },
      images,
      noise,
      guidance: own.learnsVariance ? new LearnedVarianceGuidance(plain) : plain,
      scheduler: own,
      steps: options.numInferenceSteps,
      signal,
    }
  }

  protected override async prepare(call: Call<O>, scope: Scope): Promise<Prepared> {
    const { imageEmbeds, negativeImageEmbeds, truncated = [] } = await this.embeds(call, scope)
    const negative = negativeImageEmbeds && { embeds: negativeImageEmbeds }
    return {
      denoiser: kandinskyDenoiser(this.unet, call.scheduler),
      ...(await super.prepare(call, scope)),
      encoded: { conditioning: { positive: { embeds: imageEmbeds }, negative }, truncated },
    }
  }

  protected override async encode(_call: Call, { encoded }: Prepared): Promise<Encoded> {
    if (encoded === undefined) {
      throw expected('image embeddings', 'imageEmbeds', encoded)
    }
    return encoded
  }
}

/** A scheduler for one call; one that the call names learns no variance, which would be that of the model's own sampler. */
function ownScheduler(wanted: CommonOptions['scheduler'], base: Scheduler): Scheduler {
  const { variance_type: _, thresholding: _thresholding, ...config } = base.config
  return wanted === undefined ? base.clone() : resolveScheduler(wanted, config)
}
