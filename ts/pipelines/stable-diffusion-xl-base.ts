import { checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import type { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import { type Call, guidanceScaleEmbedding } from './call.ts'
import { checkPromptsXL, type EncodedXL, encodePromptXL, type PromptOptionsXL, type TextComponentsXL } from './conditioning-xl.ts'
import type { Slots } from './load.ts'
import { type BaseComponents, DiffusionPipeline, type PipelineOrigin } from './pipeline.ts'
import type { Encoded, Prepared } from './prepared.ts'
import type { PromptInputs } from './prompt-batch.ts'
import { baseSlots, textEncoderSlot, tokenizerSlot } from './stable-diffusion-base.ts'
import { timeIdsTensor } from './time-ids.ts'

/** Components and settings of Stable Diffusion XL. */
export interface StableDiffusionXLComponents extends BaseComponents, TextComponentsXL {
  /** Zeros in place of an encoded empty negative prompt. @default `force_zeros_for_empty_prompt` of `model_index.json`, else true */
  forceZerosForEmptyPrompt?: boolean
  /** The UNet is told an aesthetic score, as the refiner. @default `requires_aesthetics_score` of `model_index.json`, else false */
  requiresAestheticsScore?: boolean
}

/** Options of `encodePrompt`. */
export type EncodePromptOptionsXL = Pick<
  PromptOptionsXL,
  'prompt2' | 'negativePrompt' | 'negativePrompt2' | 'numImagesPerPrompt' | 'clipSkip'
> & {
  signal?: AbortSignal
}

/** What the pipelines of Stable Diffusion XL share: their components, text encoding and size conditioning. */
export abstract class StableDiffusionXLBase extends DiffusionPipeline<StableDiffusionXLComponents> {
  static override readonly slots: Slots = {
    ...baseSlots,
    textEncoder: textEncoderSlot('text_encoder', { class: CLIPTextModel, optional: true }),
    tokenizer: tokenizerSlot('tokenizer', { optional: true }),
    textEncoder2: textEncoderSlot('text_encoder_2', { class: CLIPTextModelWithProjection }),
    tokenizer2: tokenizerSlot('tokenizer_2'),
  }
  static override readonly settings: readonly string[] = ['forceZerosForEmptyPrompt', 'requiresAestheticsScore']

  constructor(components: StableDiffusionXLComponents, origin?: PipelineOrigin) {
    super(components, origin)
    const kind = this.unet.config.addition_embed_type
    if (kind !== 'text_time') {
      throw new ConfigError(
        `Expected addition_embed_type "text_time" in the UNet's config for ${new.target.name} but received ${JSON.stringify(kind)}`,
      )
    }
  }

  /** Encodes prompts and negative prompts; the caller owns the tensors, one row per image. */
  async encodePrompt(
    prompt: string | string[],
    options: EncodePromptOptionsXL = {},
  ): Promise<{
    promptEmbeds: Tensor
    negativePromptEmbeds: Tensor
    pooledPromptEmbeds: Tensor
    negativePooledPromptEmbeds: Tensor
    truncated: string[]
  }> {
    this.assertUsable()
    const {
      positive,
      negative = positive,
      truncated,
    } = await encodePromptXL(this.components, {
      ...checkOptions('options', options),
      prompt,
      guided: true,
      zerosForEmptyPrompt: this.zeros,
    })
    return {
      promptEmbeds: positive.embeds,
      negativePromptEmbeds: negative.embeds,
      pooledPromptEmbeds: positive.pooled,
      negativePooledPromptEmbeds: negative.pooled,
      truncated,
    }
  }

  /** Size conditioning of a call. */
  protected abstract timeIds(call: Call, prepared: Prepared): { positive: number[]; negative: number[] }

  /** Whether an absent negative prompt means zeros. */
  protected get zeros(): boolean {
    return this.components.forceZerosForEmptyPrompt ?? true
  }

  protected override check(options: PromptOptionsXL): void {
    checkPromptsXL(options)
  }

  protected override async encode(call: Call, prepared: Prepared, scope: Scope): Promise<Encoded> {
    const { options, guidance, images, signal } = call
    const guided = guidance.rows.some(({ prompt }) => prompt === 'negative')
    const { positive, negative, truncated } = await encodePromptXL(this.components, {
      ...options,
      guided,
      zerosForEmptyPrompt: this.zeros,
      signal,
    })
    const ids = this.timeIds(call, prepared)
    const inputs = ({ embeds, pooled }: EncodedXL, values: number[]): PromptInputs => ({
      embeds: scope.keep(embeds),
      textEmbeds: scope.keep(pooled),
      timeIds: scope.keep(timeIdsTensor(values, images, this.unet, pooled.shape[1] ?? 0)),
    })
    const dim = this.unet.config.time_cond_proj_dim
    return {
      truncated,
      conditioning: {
        positive: inputs(positive, ids.positive),
        negative: negative && inputs(negative, ids.negative),
        timestepCond: dim === null ? undefined : scope.keep(guidanceScaleEmbedding(options.guidanceScale, dim, images)),
      },
    }
  }
}
