import { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { schedulerFromConfig, schedulers } from '../schedulers/resolve.ts'
import { Scheduler } from '../schedulers/scheduler.ts'
import { type Part, type SingleFile, schedulerConfig } from '../weights/single-file.ts'
import type { Slot, Slots } from './slot.ts'

/** The slots that every family has. */
export const baseSlots: Slots = {
  vae: {
    folder: 'vae',
    type: 'AutoencoderKL',
    is: (value) => value instanceof AutoencoderKL,
    classNames: ['AutoencoderKL'],
    load: (dir, options) => AutoencoderKL.fromPretrained(dir, options),
    part: 'vae',
    loadFile: (file, options) => AutoencoderKL.fromSingleFile(file.path, { ...options, config: ownConfigs(file) }),
  },
  unet: {
    folder: 'unet',
    type: 'UNet2DConditionModel',
    is: (value) => value instanceof UNet2DConditionModel,
    classNames: ['UNet2DConditionModel'],
    load: (dir, options) => UNet2DConditionModel.fromPretrained(dir, options),
    part: 'unet',
    loadFile: (file, options) => {
      const { path, extractEma } = file
      return UNet2DConditionModel.fromSingleFile(path, { ...options, extractEma, config: ownConfigs(file) })
    },
  },
  scheduler: {
    folder: 'scheduler',
    type: 'Scheduler',
    classNames: schedulers.list().map(({ className }) => className),
    is: (value) => value instanceof Scheduler,
    load: (dir, { subfolder }) => Scheduler.fromPretrained(dir, { subfolder }),
    loadFile: async (file) => schedulerFromConfig(await schedulerConfig(file)),
  },
}

/** The slot of IP-Adapter's image encoder. */
export const imageEncoderSlot: Slot = {
  folder: 'image_encoder',
  type: 'CLIPVisionModelWithProjection',
  classNames: ['CLIPVisionModelWithProjection'],
  optional: true,
  is: (value) => value instanceof CLIPVisionModelWithProjection,
  load: (dir, options) => CLIPVisionModelWithProjection.fromPretrained(dir, options),
}

type TextEncoderClass = typeof CLIPTextModel | typeof CLIPTextModelWithProjection

/** A slot for a text encoder of a class. */
export function textEncoderSlot(folder: string, given: { class: TextEncoderClass; optional?: boolean }): Slot {
  const { name } = given.class
  return {
    folder,
    type: name,
    classNames: [name],
    optional: given.optional,
    is: (value) => value instanceof given.class,
    load: (dir, options) => given.class.fromPretrained(dir, options),
    part: textPart(folder),
    loadFile: (file, options) => given.class.fromSingleFile(file.path, { ...options, config: ownConfigs(file) }),
  }
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
  return {
    folder,
    type: 'CLIPTokenizer',
    classNames: ['CLIPTokenizer', 'CLIPTokenizerFast'],
    optional,
    is: (value) => value instanceof CLIPTokenizer,
    load: (dir, { subfolder, signal }) => CLIPTokenizer.fromPretrained(dir, { subfolder, signal }),
    part: textPart(folder),
    loadFile: (file, options) => CLIPTokenizer.ofSingleFile(file, folder, options),
  }
}
