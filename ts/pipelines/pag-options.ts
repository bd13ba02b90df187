import { z } from 'zod'
import type { Guidance } from '../guidance/guidance.ts'
import { PerturbedAttentionGuidance } from '../guidance/perturbed-attention.ts'
import { peakScale } from '../guidance/schedule.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { Filled } from './call.ts'
import type { ImageToImageOptions, InpaintOptions, TextToImageOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { option } from './option.ts'

/** What pipelines with perturbed-attention guidance have beside the components. */
export interface PerturbedComponent {
  /** Self-attention layers to perturb: regular expressions over their names, such as `mid` or `down_blocks.1`. @default 'mid' */
  pagAppliedLayers?: string | readonly string[]
}

/** How perturbed-attention guidance works. */
export interface PerturbedSettings {
  /** Weight of the plain prediction against the perturbed one; 0 turns it off. @default 3 */
  pagScale?: number
  /** How much of `pagScale` is lost with each timestep below 1000. @default 0 */
  pagAdaptiveScale?: number
}

/** Options of text to image with perturbed-attention guidance. */
export interface PerturbedTextOptions extends TextToImageOptions, PerturbedSettings {}
/** Options of image to image with perturbed-attention guidance. */
export interface PerturbedImageOptions extends ImageToImageOptions, PerturbedSettings {}
/** Options of inpainting with perturbed-attention guidance. */
export interface PerturbedInpaintOptions extends InpaintOptions, PerturbedSettings {}
/** Options of text to image with SDXL and perturbed-attention guidance. */
export interface PerturbedTextXLOptions extends TextToImageXLOptions, PerturbedSettings {}
/** Options of image to image with SDXL and perturbed-attention guidance. */
export interface PerturbedImageXLOptions extends ImageToImageXLOptions, PerturbedSettings {}
/** Options of inpainting with SDXL and perturbed-attention guidance. */
export interface PerturbedInpaintXLOptions extends InpaintXLOptions, PerturbedSettings {}

/** The options that perturbed-attention guidance adds to a task. */
export const perturbedShape = {
  pagScale: option(z.number().min(0).default(3), 'a number of at least 0', 'Weight of the plain prediction against the perturbed one.'),
  pagAdaptiveScale: option(
    z.number().min(0).default(0),
    'a number of at least 0',
    'Share of `pagScale` lost with each timestep below 1000.',
  ),
} as const

/** The guidance of a call, unless it brings its own; throws `InvalidArgumentError` for layers that the UNet does not have. */
export function perturbedGuidance(
  { components, unet }: { components: PerturbedComponent; unet: UNet2DConditionModel },
  { guidance, guidanceScale, guidanceRescale, pagScale = 3, pagAdaptiveScale = 0 }: Filled & PerturbedSettings,
): Guidance {
  const { pagAppliedLayers: layers = 'mid' } = components
  unet.matchingLayers(typeof layers === 'string' ? [layers] : layers)
  const scale = peakScale(guidanceScale)
  return guidance ?? new PerturbedAttentionGuidance({ scale, rescale: guidanceRescale, pagScale, adaptiveScale: pagAdaptiveScale, layers })
}
