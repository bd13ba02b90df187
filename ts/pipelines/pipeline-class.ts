import type { AdapterState } from '../adapters/adapter-state.ts'
import type { AutoencoderKL } from '../models/autoencoder-kl.ts'
import type { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { VQModel } from '../models/vq-model.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import type { SafetyChecker } from './decode.ts'
import type { DownloadOptions, LoadedComponents, PipelineLoadOptions } from './load.ts'
import type { OpenedModel } from './model-index.ts'
import type { Owned } from './ownership.ts'
import type { Slots } from './slot.ts'

/** What turns latents into pictures. */
export type Autoencoder = AutoencoderKL | VQModel

/** What every pipeline of pictures has. */
export interface RunComponents {
  vae: Autoencoder
  unet: UNet2DConditionModel
  scheduler: Scheduler
  /** Reads the images of IP-Adapters. @default none, or the one that `loadIpAdapter` finds */
  imageEncoder?: CLIPVisionModelWithProjection | null
  /** Judges finished pictures. @default none */
  safetyChecker?: SafetyChecker | null
}

/** The same with the autoencoder of Stable Diffusion. */
export interface BaseComponents extends RunComponents {
  vae: AutoencoderKL
}

/** Where a pipeline's components come from; filled in by `fromPretrained` and `fromPipe`. */
export interface PipelineOrigin {
  owned?: Iterable<Owned>
  /** The folder or id that it was loaded from. */
  source?: string
  loadMs?: number
  /** Adapters of the pipeline that it was made from. */
  adapters?: AdapterState
}

/** A pipeline class, as its static methods see it. */
export interface PipelineClass<P> {
  new (components: never, origin?: PipelineOrigin): P
  readonly name: string
  readonly slots: Slots
  readonly settings: readonly string[]
  loadParts(source: string | OpenedModel, options: PipelineLoadOptions & Record<string, unknown>): Promise<LoadedComponents>
  downloadParts(source: string | OpenedModel, options?: DownloadOptions): Promise<string>
}

/** Component types of a pipeline. */
export type ComponentsOf<P> = P extends { components: Readonly<infer C> } ? C : never
/** A pipeline of components that were loaded for it; frees them if they do not fit together. */
export function made<P>(pipeline: PipelineClass<P>, source: string, { components, ...origin }: LoadedComponents): P {
  try {
    return new pipeline(components as never, { ...origin, source })
  } catch (error) {
    for (const component of origin.owned) {
      component.dispose()
    }
    throw error
  }
}
