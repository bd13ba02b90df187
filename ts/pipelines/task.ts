import type { z } from 'zod'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { SetTimestepsOptions } from '../schedulers/options.ts'
import type { Scope } from '../scope.ts'
import type { Call } from './call.ts'
import type { CommonOptions } from './generate-options.ts'
import type { LoadablePipeline } from './loadable.ts'
import type { PipelineOrigin } from './pipeline-class.ts'
import type { Prepared } from './prepared.ts'
import type { Slots } from './slot.ts'

/** What the start of a run sees of its pipeline; `C` is what the task needs beside the family's components. */
export interface TaskHost<C = unknown> {
  components: Readonly<C>
  unet: UNet2DConditionModel
  vae: AutoencoderKL
  vaeScaleFactor: number
}

/** What the pipelines of one class do: what calls take, what is needed beside the family's components, how a run begins. */
export interface FamilyTask<O extends CommonOptions = CommonOptions, P extends object = object> {
  /** The options of calls, with their defaults. */
  readonly schema: z.ZodObject
  /** Components beside those of the family. */
  readonly slots?: Slots
  /** Settings beside those of the family. */
  readonly settings?: readonly string[]
  /** What it asks of its sampler beside the number of steps. */
  schedule?(options: O): SetTimestepsOptions
  /** The start of a run: latents, timesteps, size, and what the UNet sees beside them; temporary tensors belong to `scope`. */
  begin(call: Call<O>, pipe: P, scope: Scope): Prepared | Promise<Prepared>
}

/** A schema that has all options of a type. */
export type Schema<O> = z.ZodObject<{ readonly [Name in keyof O]-?: z.ZodType }>

/**
 * What pipelines of several families do. A pipeline class is a family with a task, as in `extends stableDiffusion(textToImage)`.
 *
 * `F` has the type of the options in each family.
 */
export interface Task<F extends Record<string, CommonOptions>, P extends object = TaskHost>
  extends Omit<FamilyTask<F[keyof F], P>, 'schema'> {
  /** The options of calls, with their defaults, in each family. */
  readonly options: { readonly [Name in keyof F]: Schema<F[Name]> }
}

/** A pipeline class: what every class can do, and how its pipelines are made of components. */
export type TaskClass<C extends object, P> = Omit<typeof LoadablePipeline, 'prototype'> &
  (new (
    components: C,
    origin?: PipelineOrigin,
  ) => P)

/** A family, as tasks are given to it. */
type FamilyClass = Pick<typeof LoadablePipeline, 'slots' | 'settings'> &
  (abstract new (
    task: FamilyTask,
    components: never,
    origin?: PipelineOrigin,
  ) => LoadablePipeline<object>)

/** The class of a family's pipelines that do a task; the family says of which type it is. */
export function taskClass<T>(family: FamilyClass, task: FamilyTask): T {
  const pipelines = class extends family {
    static override readonly slots: Slots = { ...family.slots, ...task.slots }
    static override readonly settings: readonly string[] = [...family.settings, ...(task.settings ?? [])]

    constructor(components: never, origin?: PipelineOrigin) {
      super(task, components, origin)
    }
  }
  return pipelines as unknown as T
}
