import { z } from 'zod'
import { T2IAdapter } from '../models/t2i-adapter.ts'
import type { Call } from './call.ts'
import type { Condition } from './condition.ts'
import { type ControlImages, controlImageList, controlledSize, netsOf } from './control-call.ts'
import type { PipelineImageInput, TextToImageOptions } from './generate-options.ts'
import type { TextToImageXLOptions } from './generate-options-xl.ts'
import { oneEach } from './one-each.ts'
import { option } from './option.ts'
import { imageShape, textToImageSchema } from './options.ts'
import { textToImageXLSchema } from './options-xl.ts'
import type { Prepared } from './prepared.ts'
import type { Slot, Slots } from './slot.ts'
import { StableDiffusionBase, type StableDiffusionComponents } from './stable-diffusion-base.ts'
import { StableDiffusionXLBase, type StableDiffusionXLComponents } from './stable-diffusion-xl-base.ts'
import { t2iAdapter } from './t2i-adapter-condition.ts'
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
export const adapterSchema = z.strictObject({ ...textToImageSchema.shape, ...shape })

/** Options of text to image with SDXL and a T2I-Adapter. */
export const adapterXLSchema = z.strictObject({ ...textToImageXLSchema.shape, ...shape })

const adapterSlot: Slot = {
  folder: 'adapter',
  type: 'T2IAdapter, or a non-empty array of them',
  classNames: ['T2IAdapter'],
  is: (value) => netsOf(value).length > 0 && netsOf(value).every((item) => item instanceof T2IAdapter),
  load: (dir, options) => T2IAdapter.fromPretrained(dir, options),
}

/** Text to image that follows an image through a T2I-Adapter. Source: diffusers `StableDiffusionAdapterPipeline`; arXiv:2302.08453. */
export class StableDiffusionAdapterPipeline extends StableDiffusionBase<StableDiffusionAdapterComponents, AdapterOptions> {
  static override readonly slots: Slots = { ...StableDiffusionBase.slots, adapter: adapterSlot }
  protected override readonly schema: z.ZodObject = adapterSchema

  protected override prepare(call: Call<AdapterOptions>): Promise<Prepared> {
    return prepareAdapter(call, this)
  }
}

/** Text to image with SDXL that follows an image through a T2I-Adapter. Source: diffusers `StableDiffusionXLAdapterPipeline`. */
export class StableDiffusionXLAdapterPipeline extends StableDiffusionXLBase<StableDiffusionXLAdapterComponents, AdapterXLOptions> {
  static override readonly slots: Slots = { ...StableDiffusionXLBase.slots, adapter: adapterSlot }
  protected override readonly schema: z.ZodObject = adapterXLSchema

  protected override prepare(call: Call<AdapterXLOptions>): Promise<Prepared> {
    return prepareAdapter(call, this)
  }
}

async function prepareAdapter(
  call: Call<AdapterOptions | AdapterXLOptions>,
  pipe: StableDiffusionAdapterPipeline | StableDiffusionXLAdapterPipeline,
): Promise<Prepared> {
  const { options, signal } = call
  const adapters = netsOf(pipe.components.adapter) as T2IAdapter[]
  const multiple = Math.max(...adapters.map(({ config }) => config.downscale_factor))
  const control = adapterConditions(adapters, options.image, options)
  const size = await controlledSize(options.image, { ...options, nets: adapters.length, name: 'image', multiple, signal })
  return { ...prepareTextToImage({ ...call, options: { ...options, ...size } }, pipe), control }
}

function adapterConditions(adapters: readonly T2IAdapter[], images: ControlImages, options: AdapterSettings): Condition[] {
  const list = controlImageList(images, adapters.length, 'image')
  const scales = oneEach(options.adapterConditioningScale, adapters.length, { name: 'adapterConditioningScale', of: 'adapters' })
  return adapters.map((adapter, i) =>
    t2iAdapter(adapter, { image: list[i] as PipelineImageInput, scale: scales[i], end: options.adapterConditioningFactor }),
  )
}
