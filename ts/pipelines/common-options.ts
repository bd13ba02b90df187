import { z } from 'zod'
import type { Guidance } from '../guidance/guidance.ts'
import type { GuidanceScale } from '../guidance/schedule.ts'
import { AutoencoderTiny } from '../models/autoencoder-tiny.ts'
import { Generator } from '../random.ts'
import type { Condition } from './condition.ts'
import type { UNetCondition } from './denoise-options.ts'
import { option, share, tensor } from './option.ts'
import { promptShape } from './prompt-options.ts'

const count = z.int().min(1).max(1_000_000)
const finite = z.number()
const generator = z.custom<Generator>((value) => value instanceof Generator)
const interval = z.strictObject({ scale: finite, from: share.optional(), to: share.optional() })

/** A function is known only by its own type, which zod does not check. */
const scaleFunction = z.custom<Extract<GuidanceScale, (...args: never[]) => unknown>>((value) => typeof value === 'function')
const seed = z.union([z.int().min(0), z.bigint().min(0n)])
const tinyDecoder = z.custom<AutoencoderTiny>((value) => value instanceof AutoencoderTiny)

/** A guidance scale, or a schedule of scales, with a default. */
export function guidanceScale(fallback: number): z.ZodDefault<z.ZodType<GuidanceScale, GuidanceScale>> {
  const scale = z.union([finite, z.array(finite).min(1), interval, scaleFunction]) as z.ZodType<GuidanceScale, GuidanceScale>
  return option(
    scale.default(fallback),
    'a finite number, an array of them, { scale, from, to } or a function',
    'Weight of the prompt against the negative prompt; off at 1 and below.',
  )
}

/** How many steps run, with a default. */
export function numInferenceSteps(fallback: number): z.ZodDefault<z.ZodInt> {
  return option(count.default(fallback), 'a whole number of at least 1', 'Number of denoising steps.')
}

const given = z.custom<unknown>((value) => value !== undefined && value !== null)
const isCondition = (value: unknown): boolean => typeof value === 'function' || has(value, 'prepare')
const isGuidance = (value: unknown): boolean => has(value, 'combine') && has(value, 'withScale')

function has(value: unknown, method: string): boolean {
  return typeof value === 'object' && value !== null && method in value
}

/** Options that every text-conditioned pipeline takes; names and defaults are those of diffusers, in camelCase. */
export const commonShape = {
  ...promptShape,
  numInferenceSteps: numInferenceSteps(50),
  timesteps: option(
    z.array(finite).min(1).optional(),
    'a non-empty array of finite numbers',
    'Own timesteps instead of a step count, descending.',
  ),
  sigmas: option(
    z.array(finite.min(0)).min(1).optional(),
    'a non-empty array of numbers of at least 0',
    'Own noise levels instead of a step count, descending.',
  ),
  guidanceScale: guidanceScale(7.5),
  guidanceRescale: option(share.default(0), 'a number from 0 to 1', 'Share in which guidance keeps the contrast of the plain prediction.'),
  numImagesPerPrompt: option(count.max(1024).default(1), 'a whole number from 1 to 1024', 'Images per prompt.'),
  eta: option(
    share.optional(),
    'a number from 0 to 1',
    'Share of fresh noise: 0 by default for DDIM, TCD and DPM fast, 1 for samplers with a or SDE in their name; others ignore it.',
  ),
  seed: option(seed.optional(), 'a whole number of at least 0', 'Seed of the first image; image i gets seed + i. Random by default.'),
  seeds: option(z.array(seed).min(1).optional(), 'an array of whole numbers of at least 0', 'One seed per image.'),
  rng: option(
    z.enum(['torch-cpu', 'torch-cuda']).default('torch-cpu'),
    "'torch-cpu' or 'torch-cuda'",
    'Which of torch’s generators the seeds are for.',
  ),
  generator: option(
    z.union([generator, z.array(generator).min(1)]).optional(),
    'a Generator or an array of Generators',
    'One generator draws the whole batch at once, an array draws each image alone; both advance.',
  ),
  promptEmbeds: option(tensor.optional(), 'a Tensor', 'Encoded prompts (prompts, tokens, width), instead of `prompt`.'),
  negativePromptEmbeds: option(tensor.optional(), 'a Tensor', 'Encoded negative prompts, instead of `negativePrompt`.'),
  scheduler: option(
    z.union([z.string().min(1), z.custom<object>((value) => typeof value === 'object' && value !== null)]).optional(),
    'a sampler name, a scheduler config or a Scheduler',
    'Sampler of this call instead of the pipeline’s own.',
  ),
  outputType: option(z.enum(['image', 'latent', 'tensor']).default('image'), "'image', 'latent' or 'tensor'", 'Form of the result.'),
  preview: option(
    z.union([z.boolean(), z.strictObject({ every: count.default(1), decoder: tinyDecoder.optional() })]).default(false),
    'false, true or { every: a whole number of at least 1, decoder: an AutoencoderTiny }',
    'Emit pictures of the predicted image, every step or every n-th.',
  ),
  memory: option(
    z.number().positive().optional(),
    'a positive number of bytes',
    'Most memory of the process in bytes; the run saves what it must.',
  ),
  onAbort: option(
    z.enum(['throw', 'return-partial']).default('throw'),
    "'throw' or 'return-partial'",
    'Whether an abort rejects or decodes what exists.',
  ),
  ipAdapterImage: option(
    given.optional(),
    'an image, or an array with one entry for each IP-Adapter',
    'Image prompts for the loaded IP-Adapters.',
  ),
  negativeIpAdapterImage: option(
    given.optional(),
    'an image, or an array with one entry for each IP-Adapter',
    'Images for the loaded IP-Adapters to steer away from.',
  ),
  ipAdapterImageEmbeds: option(
    z.array(tensor).min(1).optional(),
    'a non-empty array of Tensors',
    'Image embeddings for each IP-Adapter, with guidance the negative half first.',
  ),
  ipAdapterMasks: option(z.array(given).min(1).optional(), 'a non-empty array', 'Where the images of each IP-Adapter count.'),
  conditions: option(
    z.array(z.custom<Condition | UNetCondition>(isCondition)).optional(),
    'an array of conditions',
    'Further conditioning: ControlNets, T2I-Adapters, image prompts, FreeU.',
  ),
  guidance: option(
    z.custom<Guidance>(isGuidance).optional(),
    'a Guidance',
    'How predictions become one, instead of classifier-free guidance by `guidanceScale`.',
  ),
  callbackOnStepEnd: option(
    z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function').optional(),
    'a function',
    'Called after each step; may return replacements.',
  ),
} as const
