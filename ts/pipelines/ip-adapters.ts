import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import type { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import type { IPAdapter } from '../models/ip-adapter.ts'
import { Tensor } from '../tensor.ts'
import type { Condition, ConditionCall } from './condition.ts'
import type { CommonOptions, PipelineImageInput } from './generate-options.ts'
import { imagePrompt } from './image-prompt.ts'
import { checkScale, type ImagePromptScale } from './image-prompt-scale.ts'
import { type IPAdapterSource, type LoadIpAdapterOptions, loadEncoder, loadOne } from './load-ip-adapters.ts'

/** The IP-Adapters of a pipeline. */
export class PipelineAdapters {
  #loaded: { adapter: IPAdapter; scale: ImagePromptScale }[] = []
  #encoder: CLIPVisionModelWithProjection | undefined
  #owned: { dispose(): void }[] = []

  /** Loads adapters in place of the present ones, and an image encoder unless the pipeline has one. */
  async load(
    source: IPAdapterSource | readonly IPAdapterSource[],
    options: LoadIpAdapterOptions,
    present: CLIPVisionModelWithProjection | null | undefined,
  ): Promise<void> {
    const { weightName, imageEncoderFolder = 'image_encoder', ...rest } = checkOptions('options', options)
    const sources = Array.isArray(source) ? (source as readonly IPAdapterSource[]) : [source as IPAdapterSource]
    const names = Array.isArray(weightName) ? weightName : sources.map(() => weightName as string | undefined)
    if (sources.length === 0 || names.length !== sources.length) {
      throw expected(`one name, or one for each of ${sources.length} adapters,`, 'weightName', weightName)
    }
    const owned: { dispose(): void }[] = []
    const loaded: { adapter: IPAdapter; scale: ImagePromptScale }[] = []
    let encoder: CLIPVisionModelWithProjection | undefined
    try {
      for (const [i, item] of sources.entries()) {
        const adapter = await loadOne(item, { ...rest, weightName: names[i] })
        if (adapter !== item) {
          owned.push(adapter)
        }
        loaded.push({ adapter, scale: 1 })
      }
      const [first] = sources
      if (!present && imageEncoderFolder !== null && typeof first === 'string') {
        encoder = await loadEncoder(first, imageEncoderFolder, rest)
        owned.push(encoder)
      }
    } catch (error) {
      dispose(owned)
      throw error
    }
    this.unload()
    this.#loaded = loaded
    this.#encoder = encoder
    this.#owned = owned
  }

  /** Sets one scale for all, or one for each. */
  setScale(scale: ImagePromptScale | readonly ImagePromptScale[]): void {
    const count = this.#loaded.length
    const each = Array.isArray(scale) && (count > 1 || scale.some((item) => typeof item !== 'number'))
    const scales = each ? (scale as readonly ImagePromptScale[]) : this.#loaded.map(() => scale as ImagePromptScale)
    if (scales.length !== count || count === 0) {
      throw expected(count === 0 ? 'a loaded IP-Adapter' : `one scale, or one for each of ${count} adapters,`, 'scale', scale)
    }
    for (const item of scales) {
      checkScale(item)
    }
    this.#loaded = this.#loaded.map(({ adapter }, i) => ({ adapter, scale: scales[i] ?? 1 }))
  }

  /** Takes all off, and frees what was loaded here. */
  unload(): void {
    dispose(this.#owned)
    this.#owned = []
    this.#loaded = []
    this.#encoder = undefined
  }

  /** The image prompts of a call. Throws `InvalidArgumentError` for images without adapters, and for adapters without images. */
  conditions(
    options: CommonOptions,
    call: Pick<ConditionCall, 'guidance'> & { imageEncoder?: CLIPVisionModelWithProjection | null },
  ): Condition[] {
    const { ipAdapterImage: image, negativeIpAdapterImage: negative, ipAdapterImageEmbeds: embeds, ipAdapterMasks: masks } = options
    const adapters = this.#loaded
    const given = { ipAdapterImage: image, negativeIpAdapterImage: negative, ipAdapterImageEmbeds: embeds, ipAdapterMasks: masks }
    const [used] = Object.entries(given).filter(([, value]) => value !== undefined)
    if (adapters.length === 0) {
      if (used !== undefined) {
        throw expected('nothing, as no IP-Adapter is loaded,', used[0], used[1])
      }
      return []
    }
    if (image === undefined && negative === undefined && embeds === undefined) {
      throw expected('an image, as an IP-Adapter is loaded,', 'ipAdapterImage', image)
    }
    const guided = call.guidance.rows.some(({ prompt }) => prompt === 'negative')
    const images = perAdapter(image, adapters.length, 'ipAdapterImage')
    const negatives = perAdapter(negative, adapters.length, 'negativeIpAdapterImage')
    const ofMasks = perAdapter(masks, adapters.length, 'ipAdapterMasks')
    const ofEmbeds = perAdapter(embeds, adapters.length, 'ipAdapterImageEmbeds') as (Tensor | undefined)[]
    return adapters.map(({ adapter, scale }, i) =>
      imagePrompt(adapter, {
        imageEncoder: call.imageEncoder ?? this.#encoder,
        image: images[i],
        negativeImage: negatives[i],
        ...halves(ofEmbeds[i], guided),
        masks: ofMasks[i],
        scale,
      }),
    )
  }
}

function dispose(items: readonly { dispose(): void }[]): void {
  for (const item of items) {
    item.dispose()
  }
}

/** Embeddings as diffusers takes them: with guidance the negative half first. */
function halves(embeds: Tensor | undefined, guided: boolean): { embeds?: Tensor; negativeEmbeds?: Tensor } {
  if (embeds === undefined || !guided) {
    return { embeds }
  }
  if (!(embeds instanceof Tensor) || (embeds.shape[0] ?? 0) % 2 !== 0) {
    throw expected('Tensors of an even number of rows, the negative half first,', 'ipAdapterImageEmbeds', embeds)
  }
  const [negativeEmbeds, positive] = embeds.chunk(2)
  return { embeds: positive, negativeEmbeds }
}

/** One entry for each adapter; a list for a single adapter holds its images. */
function perAdapter(value: unknown, count: number, name: string): (PipelineImageInput | undefined)[] {
  if (value === undefined) {
    return Array.from({ length: count }, () => undefined)
  }
  const list = Array.isArray(value) ? (value as unknown[]) : [value]
  if (count === 1 && list.length > 1) {
    return [list as PipelineImageInput]
  }
  if (list.length !== count) {
    throw expected(`one entry for each of ${count} IP-Adapters`, name, value)
  }
  return list as PipelineImageInput[]
}
