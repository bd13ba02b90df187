import { DeviceError, DisposedError, WeightsError } from '../errors.ts'
import type { Device } from '../tensor-data.ts'
import { checkSaveOptions, intoFolder, type SavePretrainedOptions, type WeightsPlace, writeComponent } from '../weights/save.ts'

/**
 * Types that weights can be kept in. Arithmetic is f32 for `f32` and `f16`; layers kept as `bf16` multiply bf16 numbers where the CPU can, with f32 sums. `int8`
 * keeps a UNet's transformers and residual blocks as bytes with one scale per output channel and multiplies them as bytes; everything else is f16 then, text
 * encoders and autoencoders too. `fast` is `int8`, but where the CPU multiplies bf16 numbers, large convolutions of the residual blocks do that, in Winograd's
 * form, and everything else is bf16; on other CPUs it is `int8` to the bit.
 */
export type WeightsDType = 'f32' | 'f16' | 'bf16' | 'int8' | 'fast'

/** Where a model runs; `meta` is nowhere: it has shapes and no numbers. */
export type ModelDevice = Device | 'meta'

/** Where a model lives, and where its weights came from. */
export type ModelPlace = {
  dtype: WeightsDType
  device: ModelDevice
  source?: WeightsPlace['source']
  /** The folder, file or repository that was asked for. */
  from?: string
  part?: string
  options?: { variant?: string }
}

/** Weights in memory, as native code holds them. */
export type HeldWeights = { readonly weightBytes: number; readonly canUnload: boolean; readonly isHeld: boolean; unload(): void }

/** Counts a user of a model's weights: `unload` waits until it has called the returned function. */
export let useModel: (model: Model) => () => void

/** What every neural network of the SDK has in common: where it lives, and how it is freed. */
export abstract class Model {
  /** Type that the weights are kept in. */
  readonly dtype: WeightsDType
  /** Device that it runs on. */
  readonly device: ModelDevice
  /** The config, completed with defaults. */
  abstract readonly config: object
  /** The folder, file or repository (with its folder) that it was loaded from; undefined for tensors and random weights. */
  readonly source: string | undefined
  readonly #place: ModelPlace
  readonly #weights: HeldWeights | undefined
  #users = 0
  #unloads = false
  #release: (() => void) | undefined

  static {
    useModel = (model) => {
      model.#users += 1
      return () => {
        model.#users -= 1
        if (model.#unloads && model.#users === 0) {
          model.#unloads = false
          model.#weights?.unload()
        }
      }
    }
  }

  /** `weights` are those that `unload` frees; a model that shares layers with another one has none. */
  protected constructor(place: ModelPlace, release: () => void, weights?: HeldWeights) {
    this.dtype = place.dtype
    this.device = place.device
    // A model with adapters comes from the file of the one without.
    this.#place = place instanceof Model ? place.#place : place
    this.source = this.#place.from
    this.#weights = weights
    this.#release = release
  }

  /** Whether `unload` can free the weights: for models that were loaded from files, without adapters. */
  get canUnload(): boolean {
    return !this.disposed && this.#weights?.canUnload === true
  }

  /** Whether the weights are in memory: not before the first call of a model that was loaded `lazy`, nor between `unload` and the next call. */
  get isHeld(): boolean {
    return !this.disposed && this.#weights?.isHeld !== false
  }

  /** Bytes that the weights of a model that can be unloaded take while they are held; 0 for others. */
  get unloadableBytes(): number {
    return this.canUnload ? (this.#weights?.weightBytes ?? 0) : 0
  }

  /**
   * Frees the weights until a call needs them, which reads them from their file again: of SD 1.5 in about a second. Those that runs of pipelines use are
   * freed when the last of these needs them no more. Nothing happens to a model whose weights are nowhere else, as those that were given as tensors.
   * Source: diffusers `enable_model_cpu_offload`.
   */
  unload(): void {
    this.assertUsable()
    this.#unloads = this.#users > 0
    if (!this.#unloads) {
      this.#weights?.unload()
    }
  }

  /** True after `dispose()`. */
  get disposed(): boolean {
    return this.#release === undefined
  }

  /** Frees the weights; calls that are already running finish first. Safe to call twice. */
  dispose(): void {
    this.#release?.()
    this.#release = undefined
  }

  /**
   * Writes `config.json` and safetensors weights into a folder, as diffusers reads them. The weights are those of the file that the model was
   * loaded from, without adapters; each file appears when it is complete.
   */
  async savePretrained(dir: string, options?: SavePretrainedOptions): Promise<void> {
    this.assertUsable()
    const given = checkSaveOptions(options)
    const { source, part, options: loading } = this.#place
    if (source === undefined) {
      throw new WeightsError(`Expected a ${this.constructor.name} that was loaded from a file for savePretrained but received another`)
    }
    const place = { source, part, variant: loading?.variant }
    await intoFolder(dir, (folder) => writeComponent(folder, { className: this.constructor.name, config: this.config, place }, given))
  }

  /** Same as `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }

  /** As `assertUsable`; throws `DeviceError` also for a model that has no numbers. */
  protected assertRuns(): void {
    this.assertUsable()
    if (this.device === 'meta') {
      throw new DeviceError(`Expected a ${this.constructor.name} with weights for this call but received one on the device 'meta'`)
    }
  }

  /** Throws `DisposedError` after `dispose()`. */
  protected assertUsable(): void {
    if (this.disposed) {
      throw new DisposedError(`Expected a ${this.constructor.name} in use for this call but received a disposed one`)
    }
  }
}
