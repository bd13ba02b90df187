import { z } from 'zod'
import { T2IAdapter } from '../models/t2i-adapter.ts'
import type { Condition } from './condition.ts'
import { type ControlImages, controlImageList, netsOf, severalSlot, sizedBy } from './control-call.ts'
import type { PipelineImageInput, TextToImageOptions } from './generate-options.ts'
import type { TextToImageXLOptions } from './generate-options-xl.ts'
import { oneEach } from './one-each.ts'
import { option } from './option.ts'
import { imageShape, textToImageSchema } from './options.ts'
import { textToImageXLSchema } from './options-xl.ts'
import { type StableDiffusionComponents, stableDiffusion } from './stable-diffusion-base.ts'
import { type StableDiffusionXLComponents, stableDiffusionXL } from './stable-diffusion-xl-base.ts'
import { t2iAdapter } from './t2i-adapter-condition.ts'
import type { Task, TaskHost } from './task.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** The component that T2I-Adapter pipelines have beside the others. */
export interface AdapterComponent {
  /** One T2I-Adapter, or several whose features are summed. */
  adapter: T2IAdapter | readonly T2IAdapter[]
}

/** Components of Stable Diffusion with T2I-Adapters. */
export interface StableDiffusionAdapterComponents extends StableDiffusionComponents, AdapterComponent {}

/** Components of Stable Diffusion XL with T2I-Adapters. */
export interface StableDiffusionXLAdapterComponents extends StableDiffusionXLComponents, AdapterComponent {}

/** What a picture follows, and how much. */
export interface AdapterSettings {
  /** What the picture follows, and takes its size from; with several adapters an array with one entry for each. */
  image: PipelineImageInput | readonly PipelineImageInput[]
  /** Strength: one number, or one for each adapter. @default 1 */
  adapterConditioningScale?: number | readonly number[]
  /** Share of the steps in which the adapters act, above 0, up to 1. @default 1 */
  adapterConditioningFactor?: number
}

/** Options of `StableDiffusionAdapterPipeline.generate`. */
export interface AdapterOptions extends TextToImageOptions, AdapterSettings {}

/** Options of `StableDiffusionXLAdapterPipeline.generate`. */
export interface AdapterXLOptions extends TextToImageXLOptions, AdapterSettings {}

const shape = {
  ...imageShape,
  adapterConditioningScale: option(
    z.union([z.number(), z.array(z.number()).min(1)]).default(1),
    'a number, or one for each adapter',
    'Strength of the adapter.',
  ),
  adapterConditioningFactor: option(
    z.number().gt(0).max(1).default(1),
    'a number above 0, up to 1',
    'Share of the steps in which the adapter acts.',
  ),
} as const

/** Options of text to image with a T2I-Adapter. */
export const adapterSchema = textToImageSchema.extend(shape)

/** Options of text to image with SDXL and a T2I-Adapter. */
export const adapterXLSchema = textToImageXLSchema.extend(shape)

const adapted: Task<{ sd: AdapterOptions; sdxl: AdapterXLOptions }, TaskHost<AdapterComponent>> = {
  options: { sd: adapterSchema, sdxl: adapterXLSchema },
  slots: { adapter: severalSlot('adapter', T2IAdapter) },
  async begin(call, pipe) {
    const { image } = call.options
    const adapters = netsOf(pipe.components.adapter) as T2IAdapter[]
    const multiple = Math.max(...adapters.map(({ config }) => config.downscale_factor))
    const control = adapterConditions(adapters, image, call.options)
    const sized = await sizedBy(image, call, { nets: adapters.length, name: 'image', multiple })
    return { ...prepareTextToImage(sized, pipe), control }
  },
}

/** Text to image that follows an image through a T2I-Adapter. Source: diffusers `StableDiffusionAdapterPipeline`; arXiv:2302.08453. */
export class StableDiffusionAdapterPipeline extends stableDiffusion(adapted) {}

/** Text to image with SDXL that follows an image through a T2I-Adapter. Source: diffusers `StableDiffusionXLAdapterPipeline`. */
export class StableDiffusionXLAdapterPipeline extends stableDiffusionXL(adapted) {}

function adapterConditions(adapters: readonly T2IAdapter[], images: ControlImages, options: AdapterSettings): Condition[] {
  const list = controlImageList(images, adapters.length, 'image')
  const scales = oneEach(options.adapterConditioningScale, adapters.length, { name: 'adapterConditioningScale', of: 'adapters' })
  return adapters.map((adapter, i) =>
    t2iAdapter(adapter, { image: list[i] as PipelineImageInput, scale: scales[i], end: options.adapterConditioningFactor }),
  )
}
