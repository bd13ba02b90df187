import { CLIPImageProcessor } from '../image/clip-image-processor.ts'
import { CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import { PriorTransformer } from '../models/prior-transformer.ts'
import { VQModel } from '../models/vq-model.ts'
import { type Slot, type Slots, slotOf } from './slot.ts'
import { baseSlots, imageEncoderSlot, textEncoderSlot, tokenizerSlot } from './slots.ts'

const { unet, scheduler } = baseSlots

/** The slots of a decoder. */
export const decoderSlots: Slots = {
  ...(unet && { unet }),
  ...(scheduler && { scheduler }),
  movq: slotOf('movq', VQModel),
}

/** The slots of a prior; `prefix` is `prior_` inside combined pipelines. */
export function priorSlots(prefix: '' | 'prior_'): Slots {
  const at = (slot: Slot): Slot => ({ ...slot, folder: prefix + slot.folder, optional: slot.folder === 'image_processor' })
  const name = (own: string): string => (prefix === '' ? own : `prior${own.charAt(0).toUpperCase()}${own.slice(1)}`)
  return {
    [name('prior')]: at(slotOf('prior', PriorTransformer)),
    [name('imageEncoder')]: at(imageEncoderSlot),
    [name('textEncoder')]: at(textEncoderSlot('text_encoder', { class: CLIPTextModelWithProjection })),
    [name('tokenizer')]: at(tokenizerSlot('tokenizer')),
    ...(scheduler && { [name('scheduler')]: at(scheduler) }),
    [name('imageProcessor')]: at(slotOf('image_processor', CLIPImageProcessor)),
  }
}
