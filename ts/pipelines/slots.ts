import { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { schedulerFromConfig, schedulers } from '../schedulers/resolve.ts'
import { Scheduler } from '../schedulers/scheduler.ts'
import { type Part, type SingleFile, schedulerConfig } from '../weights/single-file.ts'
import { type Slot, type Slots, slotOf } from './slot.ts'

/** The slot of a sampler; any class that is registered, unless said otherwise. */
export function schedulerSlot(folder: string, more: Partial<Slot> = {}): Slot {
  return slotOf(folder, Scheduler, {
    classNames: schedulers.list().map(({ className }) => className),
    load: (dir, { subfolder }) => Scheduler.fromPretrained(dir, { subfolder }),
    ...more,
  })
}

/** The slots that every family has. */
export const baseSlots: Slots = {
  vae: slotOf('vae', AutoencoderKL, {
    part: 'vae',
    loadFile: (file, options) => AutoencoderKL.fromSingleFile(file.path, { ...options, config: ownConfigs(file) }),
  }),
  unet: slotOf('unet', UNet2DConditionModel, {
    part: 'unet',
    loadFile: (file, options) => {
      const { path, extractEma } = file
      return UNet2DConditionModel.fromSingleFile(path, { ...options, extractEma, config: ownConfigs(file) })
    },
  }),
  scheduler: schedulerSlot('scheduler', { loadFile: async (file) => schedulerFromConfig(await schedulerConfig(file)) }),
}

/** The slot of IP-Adapter's image encoder. */
export const imageEncoderSlot: Slot = slotOf('image_encoder', CLIPVisionModelWithProjection, { optional: true })

type TextEncoderClass = typeof CLIPTextModel | typeof CLIPTextModelWithProjection

/** A slot for a text encoder of a class. */
export function textEncoderSlot(folder: string, given: { class: TextEncoderClass; optional?: boolean }): Slot {
  return slotOf(folder, given.class, {
    optional: given.optional,
    part: textPart(folder),
    loadFile: (file, options) => given.class.fromSingleFile(file.path, { ...options, config: ownConfigs(file) }),
  })
}

function textPart(folder: string): Part {
  return folder.endsWith('_2') ? 'text_encoder_2' : 'text_encoder'
}

/** The caller's configs; those of a family are found again by the component. */
function ownConfigs({ configs, isOwnConfig }: SingleFile): string | undefined {
  return isOwnConfig ? configs : undefined
}

/** A slot for a tokenizer. */
export function tokenizerSlot(folder: string, { optional }: { optional?: boolean } = {}): Slot {
  return slotOf(folder, CLIPTokenizer, {
    classNames: ['CLIPTokenizer', 'CLIPTokenizerFast'],
    optional,
    load: (dir, { subfolder, signal }) => CLIPTokenizer.fromPretrained(dir, { subfolder, signal }),
    part: textPart(folder),
    loadFile: (file, options) => CLIPTokenizer.ofSingleFile(file, folder, options),
  })
}
