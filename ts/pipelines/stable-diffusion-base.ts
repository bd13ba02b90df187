import { checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { CLIPTextModel, type CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { schedulers } from '../schedulers/resolve.ts'
import { Scheduler } from '../schedulers/scheduler.ts'
import type { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'
import { type Call, guidanceScaleEmbedding } from './call.ts'
import { encodePrompt, type PromptOptions } from './conditioning.ts'
import type { Slot, Slots } from './load.ts'
import { type BaseComponents, DiffusionPipeline, type PipelineOrigin } from './pipeline.ts'
import type { Encoded, Prepared } from './prepared.ts'

/** Components of Stable Diffusion 1.x and 2.x. */
export interface StableDiffusionComponents extends BaseComponents {
  textEncoder: CLIPTextModel
  tokenizer: CLIPTokenizer
}

/** Options of a pipeline's `encodePrompt`. */
export type EncodePromptOptions = Pick<PromptOptions, 'negativePrompt' | 'numImagesPerPrompt' | 'clipSkip'> & { signal?: AbortSignal }

/** The slots that every family has. */
export const baseSlots: Slots = {
  vae: {
    folder: 'vae',
    type: 'AutoencoderKL',
    is: (value) => value instanceof AutoencoderKL,
    classNames: ['AutoencoderKL'],
    load: (dir, options) => AutoencoderKL.fromPretrained(dir, options),
  },
  unet: {
    folder: 'unet',
    type: 'UNet2DConditionModel',
    is: (value) => value instanceof UNet2DConditionModel,
    classNames: ['UNet2DConditionModel'],
    load: (dir, options) => UNet2DConditionModel.fromPretrained(dir, options),
  },
  scheduler: {
    folder: 'scheduler',
    type: 'Scheduler',
    classNames: schedulers.list().map(({ className }) => className),
    is: (value) => value instanceof Scheduler,
    load: (dir, { subfolder }) => Scheduler.fromPretrained(dir, { subfolder }),
  },
}

type TextEncoderClass = typeof CLIPTextModel | typeof CLIPTextModelWithProjection

/** A slot for a text encoder of a class. */
export function textEncoderSlot(folder: string, given: { class: TextEncoderClass; optional?: boolean }): Slot {
  const { name } = given.class
  return {
    folder,
    type: name,
    classNames: [name],
    optional: given.optional,
    is: (value) => value instanceof given.class,
    load: (dir, options) => given.class.fromPretrained(dir, options),
  }
}

/** A slot for a tokenizer. */
export function tokenizerSlot(folder: string, { optional }: { optional?: boolean } = {}): Slot {
  return {
    folder,
    type: 'CLIPTokenizer',
    classNames: ['CLIPTokenizer', 'CLIPTokenizerFast'],
    optional,
    is: (value) => value instanceof CLIPTokenizer,
    load: (dir, { subfolder, signal }) => CLIPTokenizer.fromPretrained(dir, { subfolder, signal }),
  }
}

/** What the pipelines of Stable Diffusion 1.x and 2.x share: their components and text encoding. */
export abstract class StableDiffusionBase extends DiffusionPipeline<StableDiffusionComponents> {
  static override readonly slots: Slots = {
    ...baseSlots,
    textEncoder: textEncoderSlot('text_encoder', { class: CLIPTextModel }),
    tokenizer: tokenizerSlot('tokenizer'),
  }

  constructor(components: StableDiffusionComponents, origin?: PipelineOrigin) {
    super(components, origin)
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

  /** Encodes prompts and negative prompts: one row per image, both (images, tokens, width). The caller owns the tensors. */
  async encodePrompt(
    prompt: string | string[],
    options: EncodePromptOptions = {},
  ): Promise<{ promptEmbeds: Tensor; negativePromptEmbeds: Tensor; truncated: string[] }> {
    this.assertUsable()
    const {
      promptEmbeds,
      negativePromptEmbeds = promptEmbeds,
      truncated,
    } = await encodePrompt(this.components, { ...checkOptions('options', options), prompt, guided: true })
    return { promptEmbeds, negativePromptEmbeds, truncated }
  }

  protected override async encode({ options, guidance, images, signal }: Call, _prepared: Prepared, scope: Scope): Promise<Encoded> {
    const guided = guidance.rows.some(({ prompt }) => prompt === 'negative')
    const { promptEmbeds, negativePromptEmbeds, truncated } = await encodePrompt(this.components, { ...options, guided, signal })
    scope.keep(promptEmbeds)
    scope.keep(negativePromptEmbeds)
    const dim = this.unet.config.time_cond_proj_dim
    return {
      truncated,
      conditioning: {
        positive: { embeds: promptEmbeds },
        negative: negativePromptEmbeds && { embeds: negativePromptEmbeds },
        timestepCond: dim === null ? undefined : scope.keep(guidanceScaleEmbedding(options.guidanceScale, dim, images)),
      },
    }
  }
}
