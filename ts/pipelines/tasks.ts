import type { ImageToImageOptions, InpaintOptions, TextToImageOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import { imageToImageSchema, inpaintSchema, textToImageSchema } from './options.ts'
import { imageToImageXLSchema, inpaintXLSchema, textToImageXLSchema } from './options-xl.ts'
import type { Task } from './task.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'

/** Pictures of texts, from pure noise. */
export const textToImage: Task<{ sd: TextToImageOptions; sdxl: TextToImageXLOptions }> = {
  options: { sd: textToImageSchema, sdxl: textToImageXLSchema },
  begin: prepareTextToImage,
}

/** Pictures of texts, from other pictures and noise. */
export const imageToImage: Task<{ sd: ImageToImageOptions; sdxl: ImageToImageXLOptions }> = {
  options: { sd: imageToImageSchema, sdxl: imageToImageXLSchema },
  begin: (call, pipe, scope) => prepareImageToImage(call, pipe, scope),
}

/** Pictures of which a part is repainted. */
export const inpainting: Task<{ sd: InpaintOptions; sdxl: InpaintXLOptions }> = {
  options: { sd: inpaintSchema, sdxl: inpaintXLSchema },
  begin: prepareInpaint,
}
