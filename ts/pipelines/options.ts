import { z } from 'zod'
import { expected } from '../errors.ts'
import type { Guidance } from '../guidance/guidance.ts'
import type { GuidanceScale } from '../guidance/schedule.ts'
import { AutoencoderTiny } from '../models/autoencoder-tiny.ts'
import { Conditioning } from '../prompt/conditioning.ts'
import { type PromptSyntax, syntaxName } from '../prompt/syntax-choice.ts'
import { Generator } from '../random.ts'
import { Tensor } from '../tensor.ts'
import type { Condition } from './condition.ts'
import type { UNetCondition } from './denoise.ts'

/** What the schema knows about an option beside its type: the phrase for errors, and one sentence for help and docs. */
export interface OptionInfo {
  expected: string
  description: string
}

const infos = z.registry<OptionInfo>()

/** Attaches the error phrase and the description to an option's schema. */
export function option<T extends z.ZodType>(schema: T, what: string, description: string): T {
  infos.add(schema, { expected: what, description })
  return schema
}

/** Error phrase and description of every option of a schema, in order: what the CLI, the server and the docs are made from. */
export function describeOptions(schema: z.ZodObject): Record<string, OptionInfo> {
  return Object.fromEntries(
    Object.entries(schema.shape).map(([name, field]) => [name, infos.get(field) ?? { expected: 'a valid value', description: '' }]),
  )
}

const count = z.int().min(1).max(1_000_000)
const finite = z.number()
const text = z.union([z.string(), z.array(z.string()).min(1)])
const size = z.int().min(8).max(16384)
const tensor = z.custom<Tensor>((value) => value instanceof Tensor)
const generator = z.custom<Generator>((value) => value instanceof Generator)
const share = finite.min(0).max(1)
const interval = z.strictObject({ scale: finite, from: share.optional(), to: share.optional() })
/** A function is known only by its own type, which zod does not check. */
const scaleFunction = z.custom<Extract<GuidanceScale, (...args: never[]) => unknown>>((value) => typeof value === 'function')
const syntax = z.custom<PromptSyntax>((value) => {
  syntaxName(value as PromptSyntax)
  return true
})
const style = z.strictObject({ name: z.string(), prompt: z.string().optional(), negativePrompt: z.string().optional() })
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

const given = z.custom<unknown>((value) => value !== undefined && value !== null)
const isCondition = (value: unknown): boolean => typeof value === 'function' || has(value, 'prepare')
const isGuidance = (value: unknown): boolean => has(value, 'combine') && has(value, 'withScale')

function has(value: unknown, method: string): boolean {
  return typeof value === 'object' && value !== null && method in value
}

/** Options that every text-conditioned pipeline takes; names and defaults are those of diffusers, in camelCase. */
export const commonShape = {
  prompt: option(text.optional(), 'a string or a non-empty array of strings', 'What the picture shows; one text, or one per prompt.'),
  negativePrompt: option(text.optional(), 'a string or a non-empty array of strings', 'What to steer away from; unused without guidance.'),
  promptSyntax: option(
    syntax.optional(),
    "'plain', 'a1111', 'compel' or 'lpw'",
    'How prompts are read: as diffusers does (plain, the default), or in the syntax of another tool.',
  ),
  conditioning: option(
    z.custom<Conditioning>((value) => value instanceof Conditioning).optional(),
    'a Conditioning',
    'Encoded prompts, instead of `prompt`.',
  ),
  negativePromptFrom: option(share.optional(), 'a number from 0 to 1', 'Share of the run after which the negative prompt begins to act.'),
  styles: option(
    z.array(style).optional(),
    'an array of styles with a name, prompt and negativePrompt',
    'Put around each prompt, in order.',
  ),
  wildcards: option(
    z.record(z.string(), z.array(z.string())).optional(),
    'an object of arrays of strings',
    'Turns on {a|b} and __name__ in prompts, and holds the lines of the names.',
  ),
  loraWeights: option(
    z.record(z.string(), z.union([finite, z.record(z.string(), z.unknown())])).optional(),
    'an object of weights by the name of a loaded adapter',
    'Weights of loaded adapters for this call; others keep theirs, 0 turns one off.',
  ),
  crossAttentionKwargs: option(
    z.strictObject({ scale: finite.optional() }).optional(),
    'an object with scale, a finite number',
    'scale: factor on the weights of all active adapters for this call.',
  ),
  numInferenceSteps: option(count.default(50), 'a whole number of at least 1', 'Number of denoising steps.'),
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
  guidanceRescale: option(
    finite.min(0).max(1).default(0),
    'a number from 0 to 1',
    'Share in which guidance keeps the contrast of the plain prediction.',
  ),
  numImagesPerPrompt: option(count.max(1024).default(1), 'a whole number from 1 to 1024', 'Images per prompt.'),
  eta: option(
    finite.min(0).max(1).optional(),
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
  clipSkip: option(
    z.int().min(0).max(100).optional(),
    'a whole number from 0 to 100',
    'Text encoder layers to leave out; 1 = the layer before the last.',
  ),
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

const image = z.custom<unknown>((value) => value !== undefined && value !== null)

/** `height` and `width`. */
export const sizeShape = {
  height: option(
    size.optional(),
    'a whole number from 8 to 16384',
    'Height in pixels, a multiple of 8; default: what the model was trained on.',
  ),
  width: option(
    size.optional(),
    'a whole number from 8 to 16384',
    'Width in pixels, a multiple of 8; default: what the model was trained on.',
  ),
} as const

/** `latents`. */
export const latentsShape = {
  latents: option(tensor.optional(), 'a Tensor', 'Initial noise (images, channels, height / 8, width / 8) of unit variance.'),
} as const

/** `image`. */
export const imageShape = {
  image: option(image, 'an image (path, URL, data URL, Buffer, Blob, sharp, pixels or Tensor)', 'Picture to start from.'),
} as const

/** Options of text to image. */
export const textToImageSchema = z.strictObject({ ...commonShape, ...sizeShape, ...latentsShape })

/** Options of image to image. */
export const imageToImageSchema = z.strictObject({
  ...commonShape,
  ...imageShape,
  strength: option(finite.min(0).max(1).default(0.8), 'a number from 0 to 1', 'How much to change: the share of the steps that run.'),
})

/** Options of inpainting. */
export const inpaintSchema = z.strictObject({
  ...commonShape,
  ...sizeShape,
  ...latentsShape,
  ...imageShape,
  maskImage: option(image.optional(), 'an image', 'White is repainted, black kept; default: the transparent part of `image`.'),
  maskedImageLatents: option(tensor.optional(), 'a Tensor', 'Latents of the image with the masked part blanked, for 9-channel UNets.'),
  paddingMaskCrop: option(
    z.int().min(0).max(16384).optional(),
    'a whole number of at least 0',
    'Work only on the masked part plus this margin in pixels, and paste it back.',
  ),
  strength: option(finite.min(0).max(1).default(1), 'a number from 0 to 1', 'How much to change: the share of the steps that run.'),
})

/**
 * Checks a call's options and fills in defaults.
 *
 * Throws `InvalidArgumentError` that names the first bad option, or the nearest known name of an unknown one.
 */
export function parseOptions<T extends z.ZodObject>(schema: T, options: unknown): z.output<T> {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw expected('an object of options', 'options', options)
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null))
  const parsed = schema.safeParse(given)
  if (parsed.success) {
    return parsed.data
  }
  const issue = parsed.error.issues[0]
  if (issue?.code === 'unrecognized_keys' && issue.path.length === 0) {
    throw unknownOption(String(issue.keys[0]), Object.keys(schema.shape))
  }
  const name = String(issue?.path[0] ?? 'options')
  throw expected(describeOptions(schema)[name]?.expected ?? 'a valid value', name, given[name])
}

function unknownOption(name: string, known: readonly string[]): Error {
  const camel = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  const nearest = known.map((item) => ({ item, far: distance(item, camel) })).sort((a, b) => a.far - b.far)[0]
  const hint = nearest !== undefined && nearest.far <= 3 ? `'${nearest.item}'` : `one of ${known.join(', ')}`
  return expected(hint, 'the name of an option', name)
}

/** Edit distance (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, right] of [...b].entries()) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (left === right ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
