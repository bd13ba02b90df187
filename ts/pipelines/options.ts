import { z } from 'zod'
import { commonShape } from './common-options.ts'
import { option, share, tensor } from './option.ts'

const size = z.int().min(8).max(16384)
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

/** How much of a picture changes, with a default. */
export function strength(fallback: number): z.ZodDefault<z.ZodNumber> {
  return option(share.default(fallback), 'a number from 0 to 1', 'How much to change: the share of the steps that run.')
}

/** Options of text to image. */
export const textToImageSchema = z.strictObject({ ...commonShape, ...sizeShape, ...latentsShape })

/** Options of image to image. */
export const imageToImageSchema = z.strictObject({
  ...commonShape,
  ...imageShape,
  strength: strength(0.8),
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
  strength: strength(1),
})
