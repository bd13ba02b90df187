import type { CLIPTextModel, CLIPTextModelWithProjection } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { MotionAdapter } from '../video/motion-adapter.ts'
import type { ActingAdapter } from './adapter-state.ts'
import { type AdapterComponent, type AdapterWeight, weightsFor } from './adapter-weight.ts'
import type { WeightedAdapter } from './lora-adapter.ts'
import { type Inversion, withInversions } from './textual-inversion.ts'

/** The components of a pipeline that adapters change. */
export interface AdaptableComponents {
  unet: UNet2DConditionModel
  textEncoder?: CLIPTextModel | null
  tokenizer?: CLIPTokenizer | null
  textEncoder2?: CLIPTextModelWithProjection | null
  tokenizer2?: CLIPTokenizer | null
  motionAdapter?: MotionAdapter
}

type Prepared = { prepare(options: { signal?: AbortSignal }): Promise<void>; dispose(): void }

/**
 * Components with adapters and added tokens; those that nothing changes are the given ones themselves.
 *
 * Shared by the pipeline and the calls that run with them: the last to release them frees the models that were made for them.
 */
export class AdaptedComponents<C extends object> implements Disposable {
  readonly components: Readonly<C>
  /** What acts on them. */
  readonly adapters: readonly ActingAdapter[]
  readonly inversions: readonly Inversion[]
  readonly #made: readonly Prepared[]
  #users = 1

  constructor(base: Readonly<C>, adapters: readonly ActingAdapter[], inversions: readonly Inversion[]) {
    this.adapters = adapters
    this.inversions = inversions
    const made: Prepared[] = []
    const given = base as Readonly<Partial<AdaptableComponents>>
    const changed: Partial<AdaptableComponents> = {}
    const keep = <T extends Prepared>(model: T): T => {
      made.push(model)
      return model
    }
    const acting = (component: AdapterComponent): WeightedAdapter[] => adapters.filter(({ weight = 1 }) => acts(component, weight))
    try {
      if (given.unet && acting('unet').length > 0) {
        changed.unet = keep(given.unet.withAdapters(acting('unet')))
      }
      if (given.motionAdapter && acting('motionAdapter').length > 0) {
        changed.motionAdapter = keep(given.motionAdapter.withAdapters(acting('motionAdapter')))
      }
      if (given.textEncoder && given.tokenizer) {
        const pair = withInversions({ tokenizer: given.tokenizer, textEncoder: given.textEncoder }, inversions, 'first', keep)
        const own = acting('textEncoder')
        changed.tokenizer = pair.tokenizer
        changed.textEncoder = own.length > 0 ? keep(pair.textEncoder.withAdapters(own, 'textEncoder')) : pair.textEncoder
      }
      if (given.textEncoder2 && given.tokenizer2) {
        const pair = withInversions({ tokenizer: given.tokenizer2, textEncoder: given.textEncoder2 }, inversions, 'second', keep)
        const own = acting('textEncoder2')
        changed.tokenizer2 = pair.tokenizer
        changed.textEncoder2 = own.length > 0 ? keep(pair.textEncoder.withAdapters(own, 'textEncoder2')) : pair.textEncoder
      }
    } catch (error) {
      for (const model of made) {
        model.dispose()
      }
      throw error
    }
    this.components = Object.freeze({ ...base, ...changed })
    this.#made = made
  }

  /** Builds all changed layers now. */
  async prepare(signal?: AbortSignal): Promise<void> {
    await Promise.all(this.#made.map((model) => model.prepare({ signal })))
  }

  /** One more user. */
  retain(): this {
    this.#users += 1
    return this
  }

  /** One user less. */
  release(): void {
    this.#users -= 1
    if (this.#users === 0) {
      for (const model of this.#made) {
        model.dispose()
      }
    }
  }

  [Symbol.dispose](): void {
    this.release()
  }
}

/** Whether a weight lets an adapter act on a component at all. */
function acts(component: AdapterComponent, weight: AdapterWeight): boolean {
  if (component === 'unet') {
    return typeof weight === 'number' ? weight !== 0 : weight.unet !== 0
  }
  return weightsFor(component, weight).weight !== 0
}
