import { z } from 'zod'
import { guidanceScale } from './common-options.ts'
import { option, tensor, text } from './option.ts'
import { imageToImageSchema, inpaintSchema, strength, textToImageSchema } from './options.ts'

const share = z.number().gt(0).lt(1)
const pair = z.tuple([z.int().min(0), z.int().min(0)])
const pairWords = 'two whole numbers of at least 0'
const shareWords = 'a number above 0 and below 1'

const textShape = {
  prompt2: option(text.optional(), 'a string or a non-empty array of strings', 'Text for the second encoder; default: `prompt`.'),
  negativePrompt2: option(
    text.optional(),
    'a string or a non-empty array of strings',
    'Negative text for the second encoder; default: `negativePrompt`.',
  ),
  pooledPromptEmbeds: option(tensor.optional(), 'a Tensor', 'Pooled embedding beside `promptEmbeds`.'),
  negativePooledPromptEmbeds: option(tensor.optional(), 'a Tensor', 'Pooled embedding beside `negativePromptEmbeds`.'),
} as const

const sizeShape = {
  originalSize: option(pair.optional(), pairWords, 'Height and width that the picture pretends to have had.'),
  cropsCoordsTopLeft: option(pair.default([0, 0]), pairWords, 'Top and left where it pretends to have been cropped.'),
  targetSize: option(pair.optional(), pairWords, 'Height and width that the picture pretends to have.'),
  negativeOriginalSize: option(pair.optional(), pairWords, 'As `originalSize`, for the negative prompt.'),
  negativeCropsCoordsTopLeft: option(pair.default([0, 0]), pairWords, 'As `cropsCoordsTopLeft`, for the negative prompt.'),
  negativeTargetSize: option(pair.optional(), pairWords, 'As `targetSize`, for the negative prompt.'),
} as const

const endShape = {
  denoisingEnd: option(share.optional(), shareWords, 'Share of the schedule after which the run ends, for a refiner to go on.'),
} as const

const imageShape = {
  ...endShape,
  denoisingStart: option(share.optional(), shareWords, 'Share of the schedule that another model has already run.'),
  aestheticScore: option(z.number().min(0).max(10).default(6), 'a number from 0 to 10', 'Score that the refiner should aim at.'),
  negativeAestheticScore: option(z.number().min(0).max(10).default(2.5), 'a number from 0 to 10', 'Score that it should avoid.'),
} as const

const guidance = { guidanceScale: guidanceScale(5) } as const

/** Options of text to image with SDXL. */
export const textToImageXLSchema = textToImageSchema.extend({ ...textShape, ...sizeShape, ...endShape, ...guidance })

/** Options of image to image with SDXL. */
export const imageToImageXLSchema = imageToImageSchema.extend({
  ...textShape,
  ...sizeShape,
  ...imageShape,
  ...guidance,
  strength: strength(0.3),
})

/** Options of inpainting with SDXL. */
export const inpaintXLSchema = inpaintSchema.extend({ ...textShape, ...sizeShape, ...imageShape, strength: strength(0.9999) })
