import type { WeightedAdapter } from '../adapters/lora-adapter.ts'
import { nativeAdapters } from '../adapters/native-adapters.ts'
import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { LazyNative } from '../models/lazy-native.ts'
import { type FromWeightsOptions, type LoadOptions, planLoad, readConfig } from '../models/load.ts'
import { Model, type ModelPlace } from '../models/model.ts'
import { isMotionUnet, SPATIAL_WEIGHTS, temporalConfig } from '../models/motion-unet-config.ts'
import { buildNetwork, type Network, networkOfFile, networkOfWeights } from '../models/network.ts'
import { type NativeMotion, native } from '../native.ts'
import type { Tensor } from '../tensor.ts'
import type { Part, SingleFileOptions } from '../weights/single-file.ts'

/** Keys of a motion adapter's `config.json` (diffusers `MotionAdapter`), completed with their defaults. */
export type MotionAdapterConfig = {
  readonly block_out_channels: readonly number[]
  readonly motion_layers_per_block: number | readonly number[]
  readonly motion_num_attention_heads: number | readonly number[]
  /** The most frames of one call, or of one window. */
  readonly motion_max_seq_length: number
  readonly use_motion_mid_block: boolean
  readonly [key: string]: unknown
}

type AdaptedMotion = { native: LazyNative<NativeMotion>; config: MotionAdapterConfig }

/** The native modules as they were loaded, without adapters. */
export let nativeMotionOf: (adapter: MotionAdapter) => NativeMotion

/** The native side of an adapter, built if it is not yet; throws `InvalidArgumentError` for anything else. */
export let nativeMotion: (adapter: unknown, name: string, signal?: AbortSignal) => Promise<NativeMotion>

/** The motion modules of AnimateDiff, which a UNet of Stable Diffusion 1.x runs after its layers. Source: diffusers `MotionAdapter`; arXiv:2307.04725. */
export class MotionAdapter extends Model {
  static readonly #network: Network<NativeMotion, MotionAdapter, Part> = {
    component: 'motion_adapter',
    load: () => native.NativeMotion.load,
    make: (handle, plan) => new MotionAdapter(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: MotionAdapterConfig

  /** The modules as they were loaded. */
  readonly #root: NativeMotion
  readonly #native: LazyNative<NativeMotion>

  private constructor(root: NativeMotion, place: ModelPlace, adapted?: AdaptedMotion) {
    const own = adapted?.native ?? new LazyNative(root)
    super(place, () => own.dispose(), adapted === undefined ? root : undefined)
    this.#root = root
    this.#native = own
    this.config = adapted?.config ?? Object.freeze(JSON.parse(root.config) as MotionAdapterConfig)
  }

  static {
    nativeMotionOf = (adapter) => adapter.#root
    nativeMotion = (adapter, name, signal) => {
      if (!(adapter instanceof MotionAdapter)) {
        throw expected('a MotionAdapter', name, adapter)
      }
      adapter.assertUsable()
      return adapter.#native.get(signal)
    }
  }

  /** Reads `config.json` and safetensors weights from a folder; of a saved `UNetMotionModel` its motion modules. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<MotionAdapter> {
    const plan = await planLoad(dir, options, 'motion_adapter')
    const config = await readConfig(plan.source)
    if (isMotionUnet(config)) {
      return buildNetwork(MotionAdapter.#network, plan, temporalConfig(config), SPATIAL_WEIGHTS)
    }
    return buildNetwork(MotionAdapter.#network, plan, config)
  }

  /** Reads a single file of AnimateDiff's own layout, such as `mm_sd_v15_v2.ckpt`, or of diffusers'; its shapes tell its config. */
  static fromSingleFile(path: string, options?: SingleFileOptions): Promise<MotionAdapter> {
    return networkOfFile(MotionAdapter.#network, path, options)
  }

  /** Builds the adapter from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<MotionAdapterConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<MotionAdapter> {
    return networkOfWeights(MotionAdapter.#network, config, weights, options)
  }

  /**
   * These modules as they were loaded, with these adapters (motion LoRAs) and no others; layers that they leave alone are shared.
   *
   * The changed layers are built by `prepare` or by the first call.
   */
  withAdapters(adapters: readonly WeightedAdapter[]): MotionAdapter {
    this.assertUsable()
    const uses = nativeAdapters(adapters, 'motionAdapter')
    const built = new LazyNative((token) => this.#root.withAdapters(uses, token))
    return new MotionAdapter(this.#root, this, { native: built, config: this.config })
  }

  /** Builds what adapters change now rather than in the first call. */
  async prepare(options?: { signal?: AbortSignal }): Promise<void> {
    this.assertUsable()
    await this.#native.get(checkOptions('options', options).signal)
  }
}
