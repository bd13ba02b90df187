import { z } from 'zod'
import { ClassifierFreeGuidance } from '../guidance/guidance.ts'
import { commonShape } from './common-options.ts'
import type { CommonOptions, ImageToImageOptions, LatentsOptions, SizeOptions } from './generate-options.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { option } from './option.ts'
import { imageToImageSchema, latentsShape, sizeShape } from './options.ts'
import { stableDiffusion } from './stable-diffusion-base.ts'
import type { Task } from './task.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

type Unused = 'negativePrompt' | 'negativePromptEmbeds' | 'negativePromptFrom' | 'guidance' | 'guidanceRescale' | 'eta' | 'sigmas'

/** What latent consistency models add: `numInferenceSteps` defaults to 4, `guidanceScale` to 8.5; they take no negative prompt. */
export interface LatentConsistencyOptions extends Omit<CommonOptions, Unused | 'guidanceScale'> {
  /** Guidance that the model imitates; it costs nothing. @default 8.5 */
  guidanceScale?: number
  /** Steps of the schedule that the model was distilled on. @default `original_inference_steps` of the sampler */
  originalInferenceSteps?: number
}

/** Options of `LatentConsistencyModelPipeline.generate`. */
export interface LatentConsistencyTextOptions extends LatentConsistencyOptions, SizeOptions, LatentsOptions {}

/** Options of `LatentConsistencyModelImg2ImgPipeline.generate`. */
export interface LatentConsistencyImageOptions extends LatentConsistencyOptions, Pick<ImageToImageOptions, 'image' | 'strength'> {}

const count = z.int().min(1).max(10_000)
const {
  negativePrompt: _n,
  negativePromptEmbeds: _e,
  negativePromptFrom: _f,
  guidance: _g,
  guidanceRescale: _r,
  eta: _t,
  sigmas: _s,
  ...used
} = commonShape
const shape = {
  ...used,
  numInferenceSteps: option(count.default(4), 'a whole number of at least 1', 'Number of denoising steps.'),
  guidanceScale: option(z.number().default(8.5), 'a finite number', 'Guidance that the model imitates; it costs nothing.'),
  originalInferenceSteps: option(
    count.optional(),
    'a whole number of at least 1',
    'Steps of the schedule that the model was distilled on.',
  ),
} as const

/** Options of text to image with latent consistency models. */
export const latentConsistencyTextSchema = z.strictObject({ ...shape, ...sizeShape, ...latentsShape })

/** Options of image to image with latent consistency models. */
export const latentConsistencyImageSchema = z.strictObject({
  ...shape,
  image: imageToImageSchema.shape.image,
  strength: imageToImageSchema.shape.strength,
})

/** The model is conditioned on the guidance scale, so that one plain prediction does. */
const plain = new ClassifierFreeGuidance({ scale: 1 })

const consistentText: Task<{ sd: LatentConsistencyTextOptions }> = {
  options: { sd: latentConsistencyTextSchema },
  schedule: ({ originalInferenceSteps }) => ({ originalInferenceSteps }),
  begin: (call, pipe) => ({ ...prepareTextToImage(call, pipe), guidance: plain }),
}

const consistentImage: Task<{ sd: LatentConsistencyImageOptions }> = {
  options: { sd: latentConsistencyImageSchema },
  schedule: ({ originalInferenceSteps, strength }) => ({ originalInferenceSteps, strength }),
  async begin(call, pipe, scope) {
    const steps = { timesteps: call.scheduler.timesteps, begin: 0 }
    return { ...(await prepareImageToImage(call, pipe, scope, steps)), guidance: plain }
  },
}

/** Text to image in a few steps. Source: diffusers `LatentConsistencyModelPipeline`; arXiv:2310.04378. */
export class LatentConsistencyModelPipeline extends stableDiffusion(consistentText) {}

/** Image to image in a few steps. Source: diffusers `LatentConsistencyModelImg2ImgPipeline`. */
export class LatentConsistencyModelImg2ImgPipeline extends stableDiffusion(consistentImage) {}
