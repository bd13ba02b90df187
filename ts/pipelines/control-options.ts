import { z } from 'zod'
import type { PipelineImageInput } from './generate-options.ts'
import { option, share } from './option.ts'

/** How control works; with several ControlNets each may be a list with one entry for each. */
export interface ControlSettings {
  /** Strength of the control. @default 1; 0.8 for image-to-image, 0.5 for inpainting of SD, as in diffusers */
  controlnetConditioningScale?: number | readonly number[]
  /** Let the control act without a prompt. @default false */
  guessMode?: boolean
  /** Share of the steps after which control begins, 0 to 1. @default 0 */
  controlGuidanceStart?: number | readonly number[]
  /** Share of the steps after which control ends, 0 to 1. @default 1 */
  controlGuidanceEnd?: number | readonly number[]
}

/** What a picture follows. */
export interface ControlledText extends ControlSettings {
  /** What the picture follows, and takes its size from; with several ControlNets an array with one entry for each. */
  image: PipelineImageInput | readonly PipelineImageInput[]
}

/** What a picture follows, of pipelines whose `image` is the picture to change. */
export interface ControlledImage extends ControlSettings {
  /** What the picture follows; with several ControlNets an array with one entry for each. */
  controlImage: PipelineImageInput | readonly PipelineImageInput[]
}

const orList = <T extends z.ZodType>(schema: T): z.ZodUnion<[T, z.ZodArray<T>]> => z.union([schema, z.array(schema).min(1)])

/** Strength of the control, with a default. */
export function controlScale(fallback: number): z.ZodDefault<z.ZodUnion<[z.ZodNumber, z.ZodArray<z.ZodNumber>]>> {
  return option(orList(z.number()).default(fallback), 'a number, or one for each ControlNet', 'Strength of the control.')
}

/** The options that control adds to a pipeline. */
export const controlShape = {
  controlnetConditioningScale: controlScale(1),
  guessMode: option(z.boolean().default(false), 'true or false', 'Let the control act without a prompt.'),
  controlGuidanceStart: option(
    orList(share).default(0),
    'a number from 0 to 1, or one for each ControlNet',
    'Share of the steps after which control begins.',
  ),
  controlGuidanceEnd: option(
    orList(share).default(1),
    'a number from 0 to 1, or one for each ControlNet',
    'Share of the steps after which control ends.',
  ),
} as const

/** The same, with the image to follow beside the one to change. */
export const controlImageShape = {
  ...controlShape,
  controlImage: option(
    z.custom<unknown>((value) => value !== undefined && value !== null),
    'an image, or one for each ControlNet,',
    'What the picture follows.',
  ),
} as const
