import { z } from 'zod'
import type { Tensor } from '../tensor.ts'
import { commonShape, guidanceScale, numInferenceSteps } from './common-options.ts'
import type { CommonOptions, LatentsOptions, PipelineImageInput, SizeOptions } from './generate-options.ts'
import { option, tensor, text } from './option.ts'
import { imageShape, latentsShape, sizeShape, strength } from './options.ts'

type Taken =
  | ('numInferenceSteps' | 'guidanceScale' | 'numImagesPerPrompt' | 'seed' | 'seeds' | 'rng' | 'generator')
  | ('scheduler' | 'outputType' | 'memory' | 'onAbort' | 'conditions' | 'callbackOnStepEnd')

/** Options of every decoder of Kandinsky 2.2; `numInferenceSteps` defaults to 100, `guidanceScale` to 4, `height` and `width` to 512. */
export interface KandinskyOptions extends Pick<CommonOptions, Taken>, SizeOptions {}

/** What a prior says of the pictures. */
export interface KandinskyEmbeds {
  /** Image embeddings (prompts, width) of the prior, or several to be joined. */
  imageEmbeds: Tensor | Tensor[]
  /** What to steer away from, of the same shape; needed with guidance. */
  negativeImageEmbeds?: Tensor | Tensor[]
}

/** Prompts, and how the prior draws their image embeddings. */
export interface KandinskyPrompts {
  /** What the pictures show: one text, or one per prompt. */
  prompt: string | string[]
  /** What to steer away from: one text for all prompts, or one for each. @default the empty picture */
  negativePrompt?: string | string[]
  /** Steps of the prior, at least 2. @default 25 */
  priorNumInferenceSteps?: number
  /** Weight of the prompt in the prior; off at 1 and below. @default 4 */
  priorGuidanceScale?: number
}

/** A picture to start from. */
export interface KandinskyImage {
  /** Pictures: one for all prompts, or one for each; resized to `width` x `height`. */
  image: PipelineImageInput
  /** How much to change, 0 to 1: that share of the steps runs. @default 0.3 */
  strength?: number
}

/** A picture of which a part is repainted. */
export interface KandinskyMask {
  /** Picture to change; resized to `width` x `height`. */
  image: PipelineImageInput
  /** White is repainted, black is kept. */
  maskImage: PipelineImageInput
}

/** A picture that a UNet with control follows. */
export interface KandinskyHint {
  /** Such as a depth map: a picture, or a Tensor (prompts, 3, height, width) from 0 to 1 of the size of the result. */
  hint: PipelineImageInput
}

const picture = imageShape.image
const embeds = z.union([tensor, z.array(tensor).min(1)])
const embedsPhrase = 'a Tensor, or a non-empty array of them'
const whole = z.int().max(1_000_000)

/** Options of all decoders. */
const decoderShape = {
  numInferenceSteps: numInferenceSteps(100),
  guidanceScale: guidanceScale(4),
  numImagesPerPrompt: commonShape.numImagesPerPrompt,
  seed: commonShape.seed,
  seeds: commonShape.seeds,
  rng: commonShape.rng,
  generator: commonShape.generator,
  scheduler: commonShape.scheduler,
  outputType: commonShape.outputType,
  memory: commonShape.memory,
  onAbort: commonShape.onAbort,
  conditions: commonShape.conditions,
  callbackOnStepEnd: commonShape.callbackOnStepEnd,
  height: sizeShape.height.default(512),
  width: sizeShape.width.default(512),
}

const embedsShape = {
  imageEmbeds: option(embeds, embedsPhrase, 'Image embeddings of the prior.'),
  negativeImageEmbeds: option(embeds.optional(), embedsPhrase, 'Image embeddings to steer away from; needed with guidance.'),
}

const promptsShape = {
  prompt: option(text, 'a string or a non-empty array of strings', 'What the picture shows; one text, or one per prompt.'),
  negativePrompt: option(text.optional(), 'a string or a non-empty array of strings', 'What to steer away from.'),
  priorNumInferenceSteps: option(whole.min(2).default(25), 'a whole number of at least 2', 'Steps of the prior.'),
  priorGuidanceScale: option(z.number().default(4), 'a finite number', 'Weight of the prompt in the prior.'),
}

const imagedShape = {
  image: picture,
  strength: strength(0.3),
}

const maskedShape = { image: picture, maskImage: option(picture, 'an image', 'White is repainted, black kept.'), ...latentsShape }
const hintShape = { hint: option(picture, 'an image', 'Picture that the result follows, such as a depth map.') }

export type KandinskyTextOptions = KandinskyOptions & KandinskyEmbeds & LatentsOptions
export type KandinskyImageOptions = KandinskyOptions & KandinskyEmbeds & KandinskyImage
export type KandinskyInpaintOptions = KandinskyOptions & KandinskyEmbeds & KandinskyMask & LatentsOptions
export type KandinskyHintOptions = KandinskyTextOptions & KandinskyHint
export type KandinskyHintImageOptions = KandinskyImageOptions & KandinskyHint
export type KandinskyCombinedOptions = KandinskyOptions & KandinskyPrompts
export type KandinskyImageCombinedOptions = KandinskyOptions & KandinskyPrompts & KandinskyImage
export type KandinskyInpaintCombinedOptions = KandinskyOptions & KandinskyPrompts & KandinskyMask

/** Options of each pipeline, by what it starts from. */
export const kandinskySchemas = {
  text: z.strictObject({ ...embedsShape, ...decoderShape, ...latentsShape }),
  image: z.strictObject({ ...embedsShape, ...decoderShape, ...imagedShape }),
  inpaint: z.strictObject({ ...embedsShape, ...decoderShape, ...maskedShape }),
  hint: z.strictObject({ ...embedsShape, ...decoderShape, ...latentsShape, ...hintShape }),
  hintImage: z.strictObject({ ...embedsShape, ...decoderShape, ...imagedShape, ...hintShape }),
  combined: z.strictObject({ ...promptsShape, ...decoderShape }),
  combinedImage: z.strictObject({ ...promptsShape, ...decoderShape, ...imagedShape }),
  combinedInpaint: z.strictObject({ ...promptsShape, ...decoderShape, image: maskedShape.image, maskImage: maskedShape.maskImage }),
} as const

/** Options of `KandinskyV22PriorPipeline.generate`. */
export interface KandinskyPriorOptions
  extends Pick<KandinskyPrompts, 'prompt' | 'negativePrompt'>,
    Pick<CommonOptions, 'numImagesPerPrompt' | 'seed' | 'seeds' | 'rng' | 'generator'> {
  /** Denoising steps, at least 2. @default 25 */
  numInferenceSteps?: number
  /** Weight of the prompt; off at 1 and below. @default 4 */
  guidanceScale?: number
  /** Noise of unit variance (images, width), with a negative prompt twice as many rows. */
  latents?: Tensor
}

/** Options of the prior. */
export const kandinskyPriorSchema: z.ZodObject = z.strictObject({
  prompt: promptsShape.prompt,
  negativePrompt: promptsShape.negativePrompt,
  numInferenceSteps: promptsShape.priorNumInferenceSteps,
  guidanceScale: promptsShape.priorGuidanceScale,
  numImagesPerPrompt: commonShape.numImagesPerPrompt,
  seed: commonShape.seed,
  seeds: commonShape.seeds,
  rng: commonShape.rng,
  generator: commonShape.generator,
  latents: latentsShape.latents,
})
