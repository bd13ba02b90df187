import { checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import { PromptCache } from '../prompt/cache.ts'
import type { Conditioning } from '../prompt/conditioning.ts'
import { encodePrompt } from '../prompt/encode-prompt.ts'
import type { TextComponentsXL } from '../prompt/text-encoders.ts'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import type { PromptOptionsXL } from './check-prompts.ts'
import { checkPromptsXL } from './conditioning-xl.ts'
import { encodeCall } from './encode-call.ts'
import type { TextToImageXLOptions } from './generate-options-xl.ts'
import { DiffusionPipeline } from './pipeline.ts'
import type { BaseComponents, PipelineOrigin } from './pipeline-class.ts'
import type { Encoded, Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import type { Slots } from './slot.ts'
import { baseSlots, imageEncoderSlot, textEncoderSlot, tokenizerSlot } from './slots.ts'
import type { PipelineEncodeOptions } from './stable-diffusion-base.ts'
import { type FamilyTask, type Task, type TaskClass, type TaskHost, taskClass } from './task.ts'
import { timeIds, timeIdsTensor } from './time-ids.ts'

/** Components and settings of Stable Diffusion XL. */
export interface StableDiffusionXLComponents extends BaseComponents, TextComponentsXL {
  /** Zeros in place of an encoded empty negative prompt. @default `force_zeros_for_empty_prompt` of `model_index.json`, else true */
  forceZerosForEmptyPrompt?: boolean
  /** The UNet is told an aesthetic score, as the refiner. @default `requires_aesthetics_score` of `model_index.json`, else false */
  requiresAestheticsScore?: boolean
}

/** What the pipelines of Stable Diffusion XL share: their components, text encoding and size conditioning. */
export abstract class StableDiffusionXLBase<
  C extends StableDiffusionXLComponents,
  O extends TextToImageXLOptions,
> extends DiffusionPipeline<C, O, Results> {
  static override readonly slots: Slots = {
    ...baseSlots,
    textEncoder: textEncoderSlot('text_encoder', { class: CLIPTextModel, optional: true }),
    tokenizer: tokenizerSlot('tokenizer', { optional: true }),
    textEncoder2: textEncoderSlot('text_encoder_2', { class: CLIPTextModelWithProjection }),
    tokenizer2: tokenizerSlot('tokenizer_2'),
    imageEncoder: imageEncoderSlot,
  }
  static override readonly settings: readonly string[] = ['forceZerosForEmptyPrompt', 'requiresAestheticsScore']

  /** Encoded texts, kept for the next call. */
  readonly promptCache: PromptCache = new PromptCache()

  constructor(task: FamilyTask<O>, components: C, origin?: PipelineOrigin) {
    super(task, components, origin)
    const kind = this.unet.config.addition_embed_type
    if (kind !== 'text_time') {
      throw new ConfigError(
        `Expected addition_embed_type "text_time" in the UNet's config for ${new.target.name} but received ${JSON.stringify(kind)}`,
      )
    }
  }

  /**
   * Encodes prompts and negative prompts, in any syntax: a conditioning for `generate`, owned by the caller. Its `promptEmbeds`,
   * `pooledPromptEmbeds` and their negatives have one row per prompt.
   */
  async encodePrompt(prompt: string | readonly string[], options: PipelineEncodeOptions = {}): Promise<Conditioning> {
    this.assertUsable()
    const given = { ...checkOptions('options', options), cache: this.promptCache, zerosForEmptyPrompt: this.zeros }
    return encodePrompt(this.components, prompt, given)
  }

  override dispose(): void {
    this.promptCache.dispose()
    super.dispose()
  }

  /** Whether an absent negative prompt means zeros. */
  protected get zeros(): boolean {
    return this.components.forceZerosForEmptyPrompt ?? true
  }

  protected override check(options: PromptOptionsXL): void {
    checkPromptsXL(options)
  }

  protected override async encode(call: Call<O>, prepared: Prepared, scope: Scope): Promise<Encoded> {
    const ids = timeIds(call.options, [prepared.height, prepared.width], this.components.requiresAestheticsScore)
    return encodeCall(call, {
      prepared,
      components: this.components,
      cache: this.promptCache,
      scope,
      zerosForEmptyPrompt: this.zeros,
      timeIds: (role, pooled) => timeIdsTensor(ids[role], call.images, this.unet, pooled.shape[1] ?? 0),
    })
  }
}

/** The class of Stable Diffusion XL for a task. */
export function stableDiffusionXL<O extends TextToImageXLOptions, C>(
  task: Task<{ sdxl: O }, TaskHost<C>>,
): TaskClass<StableDiffusionXLComponents & C, StableDiffusionXLBase<StableDiffusionXLComponents & C, O>> {
  return taskClass(StableDiffusionXLBase, { ...task, schema: task.options.sdxl })
}
