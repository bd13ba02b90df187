import { checkInteger, checkNumber, checkOneOf, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { Image } from '../image/image.ts'
import { resize } from '../image/resample.ts'
import type { TaskPipeline } from '../pipelines/auto.ts'
import type { RunOptions } from '../pipelines/generate-options.ts'
import type { ImageToImageXLOptions, TextToImageXLOptions } from '../pipelines/generate-options-xl.ts'
import { Job, type JobContext } from '../pipelines/job.ts'
import { DiffusionPipeline } from '../pipelines/pipeline.ts'
import type { ImagesResult } from '../pipelines/result.ts'
import { Scope } from '../scope.ts'
import { enlargedSize } from './enlarge.ts'
import { withImageToImage } from './image-to-image.ts'
import { type LatentFilter, resizeLatents } from './resize-latents.ts'

/** How the first pass is enlarged, by the names of stable-diffusion-webui: its latents, or its picture. */
export const hiresUpscalers = {
  Latent: 'bilinear',
  'Latent (antialiased)': 'bilinear-antialiased',
  'Latent (bicubic)': 'bicubic',
  'Latent (bicubic antialiased)': 'bicubic-antialiased',
  'Latent (nearest)': 'nearest',
  'Latent (nearest-exact)': 'nearest-exact',
  Lanczos: 'lanczos',
  Nearest: 'nearest',
} as const

/** Name of a way to enlarge. */
export type HiresUpscaler = keyof typeof hiresUpscalers

/** The second pass of `hiresFix`. */
export interface HiresOptions {
  /** Times the size. @default 2 */
  scale?: number
  /** @default 'Latent' */
  upscaler?: HiresUpscaler
  /** How much the second pass may change, 0 to 1. @default 0.7 */
  denoisingStrength?: number
  /** Steps of the second pass, all of which run; 0 for as many as the first has. @default 0 */
  steps?: number
  /** Options of the second pass in place of the first's, such as another prompt or sampler. */
  options?: Partial<Pick<ImageToImageXLOptions, 'prompt' | 'negativePrompt' | 'scheduler' | 'guidanceScale' | 'conditions' | 'clipSkip'>>
}

/** Options of text to image, and of the second pass. */
export interface HiresFixOptions extends TextToImageXLOptions {
  hires?: HiresOptions
}

/**
 * Text to image at the size that the model knows, enlarged and worked over at the large size: what stable-diffusion-webui calls hires. fix.
 *
 * Source: stable-diffusion-webui processing.py `sample_hr_pass`, sd_samplers_common.py `setup_img2img_steps`.
 */
export function hiresFix(pipe: DiffusionPipeline, options: HiresFixOptions, run: RunOptions = {}): Job<ImagesResult> {
  return new Job((context) => twoPasses(pipe, options, context), { signal: run.signal })
}

async function twoPasses(pipe: DiffusionPipeline, options: HiresFixOptions, context: JobContext<ImagesResult>): Promise<ImagesResult> {
  if (!(pipe instanceof DiffusionPipeline) || !('generate' in pipe)) {
    throw expected('a pipeline for text to image', 'pipe', pipe)
  }
  const { hires, ...base } = checkOptions('options', options)
  const wanted = checkHires(hires)
  const latent = wanted.upscaler.startsWith('Latent')
  using scope = new Scope()
  const first = await follow(
    (pipe as TaskPipeline<TextToImageXLOptions>).generate({ ...base, outputType: latent ? 'latent' : 'image' }, context),
    context,
  )
  const factor = pipe.vaeScaleFactor
  const image = first.latents === undefined ? await enlargePictures(first.images ?? [], wanted) : await enlargeLatents(first.latents)
  const {
    height: _h,
    width: _w,
    latents: _l,
    timesteps: _t,
    sigmas: _s,
    generator,
    outputType: _o,
    ...common
  } = base as TextToImageXLOptions
  const steps = wanted.steps || (base.numInferenceSteps ?? 50)
  const { denoisingStrength } = wanted
  const planned = Math.max(steps, Math.trunc(steps / Math.min(Math.max(denoisingStrength, 1 / 1000), 0.999)))
  const second: Omit<ImageToImageXLOptions, 'outputType'> = {
    ...common,
    ...wanted.options,
    ...(generator === undefined ? { seed: undefined, seeds: first.seeds } : { generator }),
    image,
    numInferenceSteps: planned,
    strength: Math.min(1, (steps + 0.5) / planned),
  }
  const made = await withImageToImage(pipe, (own) => follow(own.generate(second, context), context))
  const [head, ...tail] = made.images.map((picture) => described(picture, { steps: base.numInferenceSteps ?? 50, wanted }))
  return { ...made, timings: added(first.timings, made.timings), images: [head as Image, ...tail] }

  async function enlargeLatents(latents: NonNullable<typeof first.latents>): Promise<ImageToImageXLOptions['image']> {
    const own = scope.keep(latents)
    const [rows = 0, columns = 0] = own.shape.slice(2)
    const size = enlargedSize({ width: columns * factor, height: rows * factor }, wanted.scale, Math.max(8, factor))
    const filter = hiresUpscalers[wanted.upscaler] as LatentFilter
    return scope.keep(await resizeLatents(own, { width: size.width / factor, height: size.height / factor }, filter))
  }
}

/** Hands on what a pass reports, but for its end. */
async function follow<R>(job: Job<R>, { emit }: JobContext<ImagesResult>): Promise<R> {
  for await (const event of job) {
    if (event.type === 'step' || event.type === 'preview' || event.type === 'encode') {
      emit(event)
    }
  }
  return job
}

async function enlargePictures(images: readonly Image[], { scale, upscaler }: Required<HiresOptions>): Promise<Image[]> {
  const filter = hiresUpscalers[upscaler] === 'nearest' ? 'nearest' : 'lanczos'
  return Promise.all(
    images.map(async (image) => {
      const { width, height } = enlargedSize(image, scale)
      return new Image(await resize(image.pixels(), width, height, filter))
    }),
  )
}

/** Checks the second pass and fills in its defaults; throws `InvalidArgumentError` that names the bad option. */
export function checkHires(given: HiresOptions | undefined): Required<HiresOptions> {
  const { scale = 2, upscaler = 'Latent', denoisingStrength = 0.7, steps = 0, options = {} } = checkOptions('hires', given)
  checkNumber('hires.scale', scale, { min: 1, max: 8 })
  checkOneOf('hires.upscaler', upscaler, Object.keys(hiresUpscalers) as HiresUpscaler[])
  checkNumber('hires.denoisingStrength', denoisingStrength, { min: 0, max: 1 })
  checkInteger('hires.steps', steps, { min: 0, max: 10_000 })
  return { scale, upscaler, denoisingStrength, steps, options: checkOptions('hires.options', options) }
}

/** The picture with both passes in its parameters. */
function described(
  { width, height, data, seed, parameters }: Image,
  { steps, wanted }: { steps: number; wanted: Required<HiresOptions> },
): Image {
  const { scale, upscaler, denoisingStrength } = wanted
  const hires = { hiresScale: scale, hiresUpscaler: upscaler, ...(wanted.steps > 0 && { hiresSteps: wanted.steps }) }
  return new Image({
    width,
    height,
    data,
    seed,
    parameters: { ...parameters, numInferenceSteps: steps, strength: denoisingStrength, ...hires },
  })
}

function added(first: ImagesResult['timings'], second: ImagesResult['timings']): ImagesResult['timings'] {
  const sum = (key: 'encode' | 'denoise' | 'decode'): number => first[key] + second[key]
  return { ...first, encode: sum('encode'), denoise: sum('denoise'), decode: sum('decode') }
}
