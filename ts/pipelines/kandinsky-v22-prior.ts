import { checkOptions } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { CLIPImageProcessor } from '../image/clip-image-processor.ts'
import type { ImageInput } from '../image/load-image.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { DenoiseOptions, StepReport } from './denoise-options.ts'
import type { RunOptions } from './generate-options.ts'
import { Job, type JobContext } from './job.ts'
import { drawImageEmbeds, type ImageEmbeds, type PriorNetworks, promptLists } from './kandinsky-v22-embeds.ts'
import { type KandinskyPriorOptions, kandinskyPriorSchema } from './kandinsky-v22-options.ts'
import { priorSlots } from './kandinsky-v22-slots.ts'
import { LoadablePipeline } from './loadable.ts'
import { parseOptions } from './parse-options.ts'
import type { PipelineOrigin } from './pipeline-class.ts'
import { noiseSource, type Seed } from './seeds.ts'
import type { Slots } from './slot.ts'

/** Components of a prior of Kandinsky 2.2. */
export interface KandinskyV22PriorComponents extends PriorNetworks {
  /** Makes pictures what the image encoder takes; for `interpolate`. */
  imageProcessor?: CLIPImageProcessor | null
}

/** What a prior gives; the tensors are the caller's. */
export interface KandinskyPriorResult extends ImageEmbeds {
  /** Seed of each image. */
  seeds: Seed[]
}

/** Options of `interpolate`. */
export interface InterpolateOptions extends Omit<KandinskyPriorOptions, 'prompt' | 'negativePrompt' | 'latents'> {
  /** What the pictures are steered away from. @default the empty picture */
  negativePrompt?: string
  /** What the prior is steered away from while it draws embeddings for texts. @default nothing */
  negativePriorPrompt?: string
}

/** From texts to image embeddings, for the decoders of Kandinsky 2.2. Source: diffusers `KandinskyV22PriorPipeline`. */
export class KandinskyV22PriorPipeline extends LoadablePipeline<KandinskyV22PriorComponents> {
  static override readonly slots: Slots = priorSlots('')

  constructor(components: KandinskyV22PriorComponents, origin?: PipelineOrigin) {
    super(components, origin)
    const { prior, textEncoder, imageEncoder } = this.components
    const width = prior.config.embedding_dim
    const widths = { text_encoder: textEncoder.config.projection_dim, image_encoder: imageEncoder.config.projection_dim }
    for (const [folder, projected] of Object.entries(widths)) {
      if (projected !== width) {
        throw new ConfigError(`Expected projection_dim ${width}, the prior's embedding_dim, for ${folder} but received ${projected}`)
      }
    }
  }

  /** Draws image embeddings; the job emits `step` events, and rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate(options: KandinskyPriorOptions, { signal }: RunOptions = {}): Job<KandinskyPriorResult> {
    return new Job((context) => this.#draw(options, context), { signal })
  }

  /**
   * Mixes texts and pictures, each with a weight: the weighted sum of their image embeddings.
   *
   * Texts are drawn one after the other from one generator. Source: diffusers `KandinskyV22PriorPipeline.interpolate`.
   */
  interpolate(
    imagesAndPrompts: readonly (string | Tensor | Exclude<ImageInput, string>)[],
    weights: readonly number[],
    options: InterpolateOptions = {},
    { signal }: RunOptions = {},
  ): Job<KandinskyPriorResult> {
    return new Job((context) => this.#mix(imagesAndPrompts, weights, options, context), { signal })
  }

  async #draw(given: KandinskyPriorOptions, { signal, emit }: JobContext<KandinskyPriorResult>): Promise<KandinskyPriorResult> {
    this.assertUsable()
    const options = parseOptions(kandinskyPriorSchema, given) as unknown as Required<KandinskyPriorOptions>
    const texts = promptLists(options.prompt, options.negativePrompt)
    const noise = noiseSource(options, texts.prompts.length * options.numImagesPerPrompt)
    const { numImagesPerPrompt: imagesPerPrompt, numInferenceSteps: steps, guidanceScale, latents } = options
    const onStep = stepEvents(emit)
    const run = { ...texts, imagesPerPrompt, steps, guidanceScale, noise, latents, onStep, signal }
    return { ...(await drawImageEmbeds(this.components, run)), seeds: noise.seeds }
  }

  async #mix(
    items: readonly (string | Tensor | Exclude<ImageInput, string>)[],
    weights: readonly number[],
    options: InterpolateOptions,
    context: JobContext<KandinskyPriorResult>,
  ): Promise<KandinskyPriorResult> {
    if (!Array.isArray(items) || items.length === 0 || items.length !== weights.length) {
      throw expected('as many weights as there are texts and pictures, at least one,', 'weights', weights)
    }
    const { negativePrompt = '', negativePriorPrompt, seed, seeds, rng, ...rest } = checkOptions('options', options)
    const images = options.numImagesPerPrompt ?? 1
    const { generator, seeds: drawn } = noiseSource({ seed, seeds, rng, generator: options.generator }, images)
    const draw = (prompt: string): Promise<KandinskyPriorResult> =>
      this.#draw({ ...rest, generator, prompt, negativePrompt: negativePriorPrompt }, context)
    using scope = new Scope()
    const terms: [number, Tensor][] = []
    const truncated: string[] = []
    for (const [i, item] of items.entries()) {
      const embeds = typeof item === 'string' ? await draw(item) : undefined
      truncated.push(...(embeds?.truncated ?? []))
      scope.keep(embeds?.negativeImageEmbeds)
      terms.push([weights[i] ?? 0, scope.keep(embeds?.imageEmbeds ?? (await this.#look(item, images, context.signal)))])
    }
    const against = await draw(negativePrompt)
    const [kept, left] =
      negativePrompt === '' ? [against.negativeImageEmbeds, against.imageEmbeds] : [against.imageEmbeds, against.negativeImageEmbeds]
    scope.keep(left)
    return { imageEmbeds: Tensor.linearCombination(terms), negativeImageEmbeds: kept, truncated, seeds: drawn }
  }

  /** The embedding of a picture, for each image. */
  async #look(item: Tensor | ImageInput, images: number, signal: AbortSignal): Promise<Tensor> {
    const { imageEncoder, imageProcessor } = this.components
    using scope = new Scope()
    const processor = imageProcessor ?? new CLIPImageProcessor({ size: imageEncoder.config.image_size })
    const pixels = item instanceof Tensor ? item : scope.keep(await processor.preprocess(item))
    const output = await imageEncoder.forward(pixels, { signal })
    scope.keep(output.lastHiddenState)
    scope.keep(output.poolerOutput)
    return scope.keep(output.imageEmbeds).repeat([images, 1])
  }
}

/** `step` events of a prior. */
function stepEvents(emit: JobContext<KandinskyPriorResult>['emit']): DenoiseOptions['onStep'] {
  return ({ index, total, timestep, elapsedMs }: StepReport) => {
    const step = index + 1
    emit({ type: 'step', step, total, timestep, elapsedMs, etaMs: (elapsedMs / step) * (total - step) })
  }
}
