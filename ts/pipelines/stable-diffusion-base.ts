import { checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { AutoencoderKL } from '../models/autoencoder-kl.ts'
import { CLIPTextModel, type CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { PromptCache } from '../prompt/cache.ts'
import type { Conditioning } from '../prompt/conditioning.ts'
import { type EncodePromptOptions, encodePrompt } from '../prompt/encode-prompt.ts'
import { schedulerFromConfig, schedulers } from '../schedulers/resolve.ts'
import { Scheduler } from '../schedulers/scheduler.ts'
import type { Scope } from '../scope.ts'
import { type Part, type SingleFile, schedulerConfig } from '../weights/single-file.ts'
import { type Call, guidanceScaleEmbedding, plainScale } from './call.ts'
import { encodeCall } from './encode-call.ts'
import type { CommonOptions } from './generate-options.ts'
import type { Slot, Slots } from './load.ts'
import { DiffusionPipeline } from './pipeline.ts'
import type { BaseComponents, PipelineOrigin } from './pipeline-class.ts'
import type { Encoded, Prepared } from './prepared.ts'
import type { Results } from './result.ts'

/** Components of Stable Diffusion 1.x and 2.x. */
export interface StableDiffusionComponents extends BaseComponents {
  textEncoder: CLIPTextModel
  tokenizer: CLIPTokenizer
}

/** Options of a pipeline's `encodePrompt`. */
export type PipelineEncodeOptions = Omit<EncodePromptOptions, 'zerosForEmptyPrompt' | 'cache' | 'negativeLength'>

/** The slots that every family has. */
export const baseSlots: Slots = {
  vae: {
    folder: 'vae',
    type: 'AutoencoderKL',
    is: (value) => value instanceof AutoencoderKL,
    classNames: ['AutoencoderKL'],
    load: (dir, options) => AutoencoderKL.fromPretrained(dir, options),
    part: 'vae',
    loadFile: (file, options) => AutoencoderKL.fromSingleFile(file.path, { ...options, config: ownConfigs(file) }),
  },
  unet: {
    folder: 'unet',
    type: 'UNet2DConditionModel',
    is: (value) => value instanceof UNet2DConditionModel,
    classNames: ['UNet2DConditionModel'],
    load: (dir, options) => UNet2DConditionModel.fromPretrained(dir, options),
    part: 'unet',
    loadFile: (file, options) => UNet2DConditionModel.fromSingleFile(file.path, { ...options, config: ownConfigs(file) }),
  },
  scheduler: {
    folder: 'scheduler',
    type: 'Scheduler',
    classNames: schedulers.list().map(({ className }) => className),
    is: (value) => value instanceof Scheduler,
    load: (dir, { subfolder }) => Scheduler.fromPretrained(dir, { subfolder }),
    loadFile: async (file) => schedulerFromConfig(await schedulerConfig(file)),
  },
}

/** The slot of IP-Adapter's image encoder. */
export const imageEncoderSlot: Slot = {
  folder: 'image_encoder',
  type: 'CLIPVisionModelWithProjection',
  classNames: ['CLIPVisionModelWithProjection'],
  optional: true,
  is: (value) => value instanceof CLIPVisionModelWithProjection,
  load: (dir, options) => CLIPVisionModelWithProjection.fromPretrained(dir, options),
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
    part: textPart(folder),
    loadFile: (file, options) => given.class.fromSingleFile(file.path, { ...options, config: ownConfigs(file) }),
  }
}

function textPart(folder: string): Part {
  return folder.endsWith('_2') ? 'text_encoder_2' : 'text_encoder'
}

/** The caller's configs; those of a family are found again by the component. */
function ownConfigs({ configs, isOwnConfig }: SingleFile): string | undefined {
  return isOwnConfig ? configs : undefined
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
    part: textPart(folder),
    loadFile: (file, options) => CLIPTokenizer.ofSingleFile(file, folder, options),
  }
}

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

  constructor(components: C, origin?: PipelineOrigin) {
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
    const dim = this.unet.config.time_cond_proj_dim
    const { conditioning, ...encoded } = await encodeCall(call, { prepared, components: this.components, cache: this.promptCache, scope })
    const timestepCond =
      dim === null ? undefined : scope.keep(guidanceScaleEmbedding(plainScale(call.options.guidanceScale), dim, call.images))
    return { ...encoded, conditioning: { ...conditioning, timestepCond } }
  }
}
