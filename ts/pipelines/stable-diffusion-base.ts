import { checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { CLIPTextModel } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { PromptCache } from '../prompt/cache.ts'
import type { Conditioning } from '../prompt/conditioning.ts'
import { type EncodePromptOptions, encodePrompt } from '../prompt/encode-prompt.ts'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import { encodeCall } from './encode-call.ts'
import type { CommonOptions } from './generate-options.ts'
import { DiffusionPipeline } from './pipeline.ts'
import type { BaseComponents, PipelineOrigin } from './pipeline-class.ts'
import type { Encoded, Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import type { Slots } from './slot.ts'
import { baseSlots, imageEncoderSlot, textEncoderSlot, tokenizerSlot } from './slots.ts'
import { type FamilyTask, type Task, type TaskClass, type TaskHost, taskClass } from './task.ts'

/** Components of Stable Diffusion 1.x and 2.x. */
export interface StableDiffusionComponents extends BaseComponents {
  textEncoder: CLIPTextModel
  tokenizer: CLIPTokenizer
}

/** Options of a pipeline's `encodePrompt`. */
export type PipelineEncodeOptions = Omit<EncodePromptOptions, 'zerosForEmptyPrompt' | 'cache' | 'negativeLength'>

/** What the pipelines of Stable Diffusion 1.x and 2.x share: their components and text encoding. */
export abstract class StableDiffusionBase<
  C extends StableDiffusionComponents,
  O extends CommonOptions,
  R extends Record<keyof Results, unknown> = Results,
> extends DiffusionPipeline<C, O, R> {
  static override readonly slots: Slots = {
    ...baseSlots,
    textEncoder: textEncoderSlot('text_encoder', { class: CLIPTextModel }),
    tokenizer: tokenizerSlot('tokenizer'),
    imageEncoder: imageEncoderSlot,
  }

  /** Encoded texts, kept for the next call. */
  readonly promptCache: PromptCache = new PromptCache()

  constructor(task: FamilyTask<O>, components: C, origin?: PipelineOrigin) {
    super(task, components, origin)
    const kind = this.unet.config.addition_embed_type
    if (kind !== null) {
      throw new ConfigError(
        `Expected addition_embed_type null in the UNet's config for ${new.target.name} but received ${JSON.stringify(kind)}`,
      )
    }
  }

  /** The text encoder. */
  get textEncoder(): CLIPTextModel {
    return this.components.textEncoder
  }

  /** The tokenizer. */
  get tokenizer(): CLIPTokenizer {
    return this.components.tokenizer
  }

  /**
   * Encodes prompts and negative prompts, in any syntax: a conditioning for `generate`, owned by the caller. Its `promptEmbeds` and
   * `negativePromptEmbeds` are (prompts, tokens, width).
   */
  async encodePrompt(prompt: string | readonly string[], options: PipelineEncodeOptions = {}): Promise<Conditioning> {
    this.assertUsable()
    return encodePrompt(this.components, prompt, { ...checkOptions('options', options), cache: this.promptCache })
  }

  override dispose(): void {
    this.promptCache.dispose()
    super.dispose()
  }

  protected override async encode(call: Call, prepared: Prepared, scope: Scope): Promise<Encoded> {
    return prepared.encoded ?? encodeCall(call, { prepared, components: this.components, cache: this.promptCache, scope })
  }
}

/** The class of Stable Diffusion 1.x and 2.x for a task. */
export function stableDiffusion<O extends CommonOptions, C>(
  task: Task<{ sd: O }, TaskHost<C>>,
): TaskClass<StableDiffusionComponents & C, StableDiffusionBase<StableDiffusionComponents & C, O>> {
  return taskClass(StableDiffusionBase, { ...task, schema: task.options.sd })
}
