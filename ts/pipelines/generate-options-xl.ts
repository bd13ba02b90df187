import type { PromptOptionsXL } from './check-prompts.ts'
import type { DenoisingRange } from './denoising-range.ts'
import type { ImageToImageOptions, InpaintOptions, TextToImageOptions } from './generate-options.ts'
import type { AestheticScores, SizeConditioning } from './time-ids.ts'

type TextXL = Pick<PromptOptionsXL, 'prompt2' | 'negativePrompt2' | 'pooledPromptEmbeds' | 'negativePooledPromptEmbeds'>

/** Options of `StableDiffusionXLPipeline.generate`; `guidanceScale` defaults to 5. */
export interface TextToImageXLOptions extends TextToImageOptions, TextXL, SizeConditioning, Pick<DenoisingRange, 'denoisingEnd'> {}

/** Options of `StableDiffusionXLImg2ImgPipeline.generate`; `guidanceScale` defaults to 5, `strength` to 0.3. */
export interface ImageToImageXLOptions extends ImageToImageOptions, TextXL, SizeConditioning, AestheticScores, DenoisingRange {}

/** Options of `StableDiffusionXLInpaintPipeline.generate`; `strength` defaults to 0.9999. */
export interface InpaintXLOptions extends InpaintOptions, TextXL, SizeConditioning, AestheticScores, DenoisingRange {}
