import { expected } from '../errors.ts'
import { ClassifierFreeGuidance } from '../guidance/guidance.ts'
import type { CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import type { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import type { PriorTransformer } from '../models/prior-transformer.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { denoise } from './denoise.ts'
import type { DenoiseOptions } from './denoise-options.ts'
import { prepareLatents } from './latents.ts'
import type { NoiseSource } from './seeds.ts'

/** What draws image embeddings. */
export interface PriorNetworks {
  prior: PriorTransformer
  imageEncoder: CLIPVisionModelWithProjection
  textEncoder: CLIPTextModelWithProjection
  tokenizer: CLIPTokenizer
  scheduler: Scheduler
}

/** What the embeddings are drawn for. */
export interface PriorRun {
  prompts: readonly string[]
  /** One for each prompt; the empty picture stands for an absent one. */
  negativePrompts?: readonly string[]
  imagesPerPrompt: number
  steps: number
  guidanceScale: number
  noise: NoiseSource
  latents?: Tensor
  onStep?: DenoiseOptions['onStep']
  signal?: AbortSignal
}

/** Image embeddings (images, width) and what to steer away from, of the same shape; the caller owns them. */
export interface ImageEmbeds {
  imageEmbeds: Tensor
  negativeImageEmbeds: Tensor
  /** Text that did not fit into the text encoder. */
  truncated: string[]
}

type EncodedTexts = { states: Tensor; pooled: Tensor; mask: Tensor; truncated: readonly string[] }

/**
 * Draws image embeddings for prompts. With negative prompts these are drawn in the same run, as further prompts.
 *
 * Source: diffusers `KandinskyV22PriorPipeline.__call__`.
 */
export async function drawImageEmbeds(networks: PriorNetworks, run: PriorRun): Promise<ImageEmbeds> {
  const { prior, scheduler } = networks
  const { prompts, negativePrompts, imagesPerPrompt, noise, signal } = run
  using scope = new Scope()
  const all = [...prompts, ...(negativePrompts ?? [])]
  const images = all.length * imagesPerPrompt
  const guidance = new ClassifierFreeGuidance({ scale: run.guidanceScale })
  const positive = await encodeTexts(networks, all, run, scope)
  const against = negativePrompts === undefined ? all.map(() => '') : [...negativePrompts, ...negativePrompts]
  const negative = guidance.rows.length > 1 ? await encodeTexts(networks, against, run, scope) : undefined
  const join = (part: 'states' | 'pooled' | 'mask'): Tensor =>
    negative === undefined ? positive[part] : scope.keep(Tensor.cat([negative[part], positive[part]]))
  const told = { encoderHiddenStates: join('states'), projEmbedding: join('pooled'), attentionMask: join('mask') }
  // A generator for each image draws for its prompt, then for its negative prompt.
  const { generator } = noise
  const spread = Array.isArray(generator) && negativePrompts !== undefined ? [...generator, ...generator] : generator
  const own = scheduler.clone()
  scope.keep({ [Symbol.dispose]: () => own.reset() })
  own.setTimesteps(run.steps)
  const { latents } = await denoise({
    unet: {
      forward: async (sample, timestep) => ({
        sample: (await prior.forward(sample, timestep, { ...told, signal })).predictedImageEmbedding,
      }),
    },
    scheduler: own,
    timesteps: own.timesteps,
    latents: prepareLatents([images, prior.config.embedding_dim], { ...noise, generator: spread }, own, run.latents),
    conditioning: { positive: { embeds: positive.states }, negative: negative && { embeds: negative.states } },
    guidance,
    generator: spread,
    onStep: run.onStep,
    signal,
  })
  scope.keep(latents)
  const embeds = await prior.postProcessLatents(latents, { signal })
  const truncated = [...new Set([...positive.truncated, ...(negative?.truncated ?? [])])]
  if (negativePrompts === undefined) {
    return { imageEmbeds: embeds, negativeImageEmbeds: await emptyImageEmbeds(networks, images, signal), truncated }
  }
  using both = embeds
  return { imageEmbeds: both.slice(0, 0, images / 2), negativeImageEmbeds: both.slice(0, images / 2), truncated }
}

/** The embedding of a picture of zeros, for each image. Source: diffusers `KandinskyV22PriorPipeline.get_zero_embed`. */
async function emptyImageEmbeds({ imageEncoder }: PriorNetworks, images: number, signal?: AbortSignal): Promise<Tensor> {
  using scope = new Scope()
  const { num_channels: channels, image_size: size } = imageEncoder.config
  const output = await imageEncoder.forward(scope.keep(Tensor.zeros([1, channels, size, size])), { signal })
  scope.keep(output.lastHiddenState)
  scope.keep(output.poolerOutput)
  return scope.keep(output.imageEmbeds).repeatInterleave(images, 0)
}

async function encodeTexts(
  { tokenizer, textEncoder }: PriorNetworks,
  texts: readonly string[],
  { imagesPerPrompt, signal }: PriorRun,
  scope: Scope,
): Promise<EncodedTexts> {
  const tokens = tokenizer.encode(texts, { padding: 'max_length', truncation: true })
  const output = await textEncoder.forward(scope.keep(tokens.inputIds), { signal })
  scope.keep(output.poolerOutput)
  const spread = (tensor: Tensor): Tensor => scope.keep(scope.keep(tensor).repeatInterleave(imagesPerPrompt, 0))
  return {
    states: spread(output.lastHiddenState),
    pooled: spread(output.textEmbeds),
    mask: spread(scope.keep(tokens.attentionMask).to('f32')),
    truncated: tokens.truncated.filter((lost) => lost !== ''),
  }
}

/** Prompts, and negative prompts of the same number; throws `InvalidArgumentError` for another number. */
export function promptLists(
  prompt: string | readonly string[],
  negativePrompt: string | readonly string[] | undefined,
): Pick<PriorRun, 'prompts' | 'negativePrompts'> {
  const prompts = typeof prompt === 'string' ? [prompt] : prompt
  const negativePrompts = typeof negativePrompt === 'string' ? prompts.map(() => negativePrompt) : negativePrompt
  if (negativePrompts !== undefined && negativePrompts.length !== prompts.length) {
    throw expected(`a string, or one for each of ${prompts.length} prompts,`, 'negativePrompt', negativePrompt)
  }
  return { prompts, negativePrompts }
}
