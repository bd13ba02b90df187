import { checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import type { Guidance } from '../guidance/guidance.ts'
import type { ControlRecord } from '../image/metadata/adapters.ts'
import type { PreprocessOptions } from '../image/vae-image-processor.ts'
import type { FreeUOptions, UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { checkFreeU } from '../models/unet-input.ts'
import type { Scope } from '../scope.ts'
import type { UNetCondition, UNetStep } from './denoise-options.ts'

/** What a condition may know of a call before its first step. */
export interface ConditionCall {
  unet: UNet2DConditionModel
  /** Images in all. */
  images: number
  imagesPerPrompt: number
  /** Size of the pictures in pixels. */
  height: number
  width: number
  /** Pixels per latent along one edge. */
  vaeScaleFactor: number
  guidance: Guidance
  /** Part of the pictures that is worked on, where it is not the whole. */
  cropped?: Pick<PreprocessOptions, 'cropCoords' | 'resizeMode'>
  signal?: AbortSignal
}

/**
 * Further conditioning of a call as a value: made by `controlNet`, `t2iAdapter`, `imagePrompt` and `freeU`, given in the option
 * `conditions`, in any number and mixture. Immutable, so that one may serve many calls.
 */
export interface Condition {
  /** What the pictures' metadata says of it. @default nothing */
  readonly record?: ControlRecord
  /** Prepares one call; tensors that outlive it belong to `scope`. Throws `InvalidArgumentError` for what does not fit the UNet. */
  prepare(call: ConditionCall, scope: Scope): UNetCondition | Promise<UNetCondition>
}

/** Prepares the conditions of a call; functions are conditions that need no preparation. */
export function prepareConditions(
  conditions: readonly (Condition | UNetCondition)[] | undefined,
  call: ConditionCall,
  scope: Scope,
): Promise<UNetCondition[]> {
  return Promise.all(
    (conditions ?? []).map(async (condition) => (typeof condition === 'function' ? condition : condition.prepare(call, scope))),
  )
}

/** The part of a run in which a condition acts. */
export interface ConditionSpan {
  /** Share of the steps after which it begins, 0 to 1. @default 0 */
  start?: number
  /** Share of the steps after which it ends, above `start`, up to 1. @default 1 */
  end?: number
}

/** Checks a span and returns it with its defaults. */
export function checkSpan({ start = 0, end = 1 }: ConditionSpan): Required<ConditionSpan> {
  checkNumber('start', start, { min: 0, max: 1 })
  checkNumber('end', end, { min: 0, max: 1 })
  if (start >= end) {
    throw expected(`a number below end (${end})`, 'start', start)
  }
  return { start, end }
}

/** Whether a step lies in a span, whole. Source: diffusers `StableDiffusionControlNetPipeline.__call__`, `controlnet_keep`. */
export function isWithin({ index, total }: Pick<UNetStep, 'index' | 'total'>, { start, end }: Required<ConditionSpan>): boolean {
  return index / total >= start && (index + 1) / total <= end
}

/** FreeU for one call, in place of what `unet.enableFreeU` set. Source: arXiv:2309.11497. */
export function freeU(options: FreeUOptions): Condition {
  const freeu = checkFreeU(options)
  return { prepare: () => () => ({ freeu }) }
}
