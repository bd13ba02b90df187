import { checkOptions } from '../checks.ts'
import { expected, InvalidArgumentError } from '../errors.ts'
import type { GuidanceRow } from '../guidance/guidance.ts'
import type { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import { IPAdapter } from '../models/ip-adapter.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { sourceName } from './adapter-records.ts'
import { type Condition, type ConditionCall, type ConditionSpan, checkSpan, isWithin } from './condition.ts'
import type { PipelineImageInput } from './generate-options.ts'
import { encodeImagePrompt, zeroFeatures } from './image-prompt-features.ts'
import { imagePromptMasks } from './image-prompt-masks.ts'
import { checkScale, type ImagePromptScale, layerScales } from './image-prompt-scale.ts'

/** Options of `imagePrompt`; at least one of the images and embeddings. */
export interface ImagePromptOptions extends ConditionSpan {
  /** Encodes the images; not needed for embeddings. */
  imageEncoder?: CLIPVisionModelWithProjection | null
  /** What the pictures resemble: one image or several. @default none, as if nothing were seen */
  image?: PipelineImageInput
  /** What to steer away from: takes the place of the empty image in the unconditional branch. @default none */
  negativeImage?: PipelineImageInput
  /** In place of `image`: embeddings (1 or images, N, D), for Plus and full-face hidden states (1 or images, N, S, D). */
  embeds?: Tensor
  /** In place of `negativeImage`: the same for the unconditional branch. */
  negativeEmbeds?: Tensor
  /** Strength against the text: one number, one for each cross-attention layer, or numbers by block. @default 1 */
  scale?: ImagePromptScale
  /** Where each image counts, white for fully: one mask for each image. @default everywhere */
  masks?: PipelineImageInput
}

/**
 * Images as part of the prompt, through an IP-Adapter, as a condition of a call.
 *
 * Throws `InvalidArgumentError` for bad options, and before the first step for an adapter of another family. Source: diffusers
 * `StableDiffusionPipeline.prepare_ip_adapter_image_embeds`; arXiv:2308.06721.
 */
export function imagePrompt(adapter: IPAdapter, options: ImagePromptOptions): Condition {
  if (!(adapter instanceof IPAdapter)) {
    throw expected('an IPAdapter', 'adapter', adapter)
  }
  const given = checkOptions('options', options)
  const span = checkSpan(given)
  const scale = checkScale(given.scale ?? 1)
  for (const [image, embeds] of [['image', 'embeds'] as const, ['negativeImage', 'negativeEmbeds'] as const]) {
    if (given[image] !== undefined && given[embeds] !== undefined) {
      throw expected(`at most one of ${image} and ${embeds}`, image, given[image])
    }
  }
  if ([given.image, given.negativeImage, given.embeds, given.negativeEmbeds].every((value) => value === undefined)) {
    throw expected('an image, a negativeImage or embeddings', 'image', undefined)
  }
  const name = sourceName(adapter.source, adapter.constructor.name)
  return {
    record: { kind: 'ip-adapter', model: name, weight: scale, ...span },
    async prepare(call, scope) {
      checkWidth(adapter, call)
      const scales = layerScales(scale, call.unet.imageLayers)
      const tokens = await projectedTokens(adapter, given, call, scope)
      const images = tokens.positive.shape[1] ?? 1
      const mask = given.masks === undefined ? undefined : await imagePromptMasks(given.masks, images, call, scope)
      return ({ rows, ...step }) =>
        isWithin(step, span) ? { imagePrompts: [{ adapter, tokens: tokens.of(rows, call.images), scale: scales, mask }] } : {}
    },
  }
}

function checkWidth({ config }: IPAdapter, { unet }: ConditionCall): void {
  const { cross_attention_dim: width } = unet.config
  if (typeof width === 'number' && width !== config.context_width) {
    throw new InvalidArgumentError(
      `Expected tokens of width ${width}, as the UNet reads, from the IP-Adapter but received ${config.context_width}`,
    )
  }
  if (unet.imageLayers.length !== config.layers) {
    throw new InvalidArgumentError(
      `Expected keys for ${unet.imageLayers.length} cross-attention layers, as the UNet has, in the IP-Adapter but received ${config.layers}`,
    )
  }
}

/** The tokens of both branches; those of a batch are joined once, so that the adapter knows what it has computed already. */
class Tokens {
  readonly positive: Tensor
  readonly #negative: Tensor
  readonly #scope: Scope
  readonly #joined = new Map<string, Tensor>()

  constructor(positive: Tensor, negative: Tensor, scope: Scope) {
    this.positive = positive
    this.#negative = negative
    this.#scope = scope
  }

  /** (rows times images, N, T, D). */
  of(rows: readonly GuidanceRow[], images: number): Tensor {
    const key = rows.map(({ prompt }) => prompt).join()
    const known = this.#joined.get(key)
    if (known !== undefined) {
      return known
    }
    const parts = rows.map(({ prompt }) => (prompt === 'positive' ? this.positive : this.#negative))
    const spread = parts.map((part) =>
      part.shape[0] === images ? part : this.#scope.keep(part.repeatInterleave(images / (part.shape[0] ?? 1), 0)),
    )
    const joined = this.#scope.keep(Tensor.cat(spread))
    this.#joined.set(key, joined)
    return joined
  }
}

async function projectedTokens(adapter: IPAdapter, options: ImagePromptOptions, call: ConditionCall, scope: Scope): Promise<Tokens> {
  const { imageEncoder, image, negativeImage, embeds, negativeEmbeds } = options
  const { signal } = call
  const features = async (picture: PipelineImageInput | undefined, given: Tensor | undefined, name: string): Promise<Tensor | undefined> =>
    given ?? (picture === undefined ? undefined : encodeImagePrompt(adapter, picture, { imageEncoder, name, signal, scope }))
  const positive = await features(image, embeds, 'image')
  const negative = await features(negativeImage, negativeEmbeds, 'negativeImage')
  const like = (positive ?? negative) as Tensor
  const empty = async (): Promise<Tensor> => zeroFeatures(adapter, like, { imageEncoder, signal, scope })
  const project = async (tensor: Tensor, name: string): Promise<Tensor> => {
    const [batch = 0] = tensor.shape
    if (batch === 0 || call.images % batch !== 0) {
      throw expected(`a Tensor of 1 or ${call.images} rows`, name, tensor)
    }
    return scope.keep(await adapter.project(tensor, { signal }))
  }
  const [first, second] = [positive ?? (await empty()), negative ?? (await empty())]
  return new Tokens(
    ...sameCount(
      await project(first, embeds ? 'embeds' : 'image'),
      await project(second, negativeEmbeds ? 'negativeEmbeds' : 'negativeImage'),
      scope,
    ),
    scope,
  )
}

/** Repeats the images of one branch up to those of the other; attention to an image given twice is the same as given once. */
function sameCount(positive: Tensor, negative: Tensor, scope: Scope): [positive: Tensor, negative: Tensor] {
  const [p = 1, n = 1] = [positive.shape[1], negative.shape[1]]
  const repeat = (tensor: Tensor, times: number): Tensor =>
    times === 1 ? tensor : scope.keep(tensor.repeat([1, times, ...tensor.shape.slice(2).map(() => 1)]))
  if (p % n !== 0 && n % p !== 0) {
    throw expected(`a number of images that divides ${p}, or is a multiple of it,`, 'negativeImage', `${n} images`)
  }
  return [repeat(positive, Math.max(1, n / p)), repeat(negative, Math.max(1, p / n))]
}
