import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type FromWeightsOptions, type LoadOptions, type LoadPlan, loadNative, planLoad, planWeights, readConfig } from '../models/load.ts'
import { Model } from '../models/model.ts'
import { type NativeMotion, native } from '../native.ts'
import type { Tensor } from '../tensor.ts'

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

const handles = new WeakMap<MotionAdapter, NativeMotion>()

/** The motion modules of AnimateDiff, which a UNet of Stable Diffusion 1.x runs after its layers. Source: diffusers `MotionAdapter`; arXiv:2307.04725. */
export class MotionAdapter extends Model {
  /** The config, completed with defaults. */
  readonly config: MotionAdapterConfig

  private constructor(handle: NativeMotion, plan: LoadPlan) {
    super(plan, () => handle.dispose())
    this.config = Object.freeze(JSON.parse(handle.config) as MotionAdapterConfig)
    handles.set(this, handle)
  }

  /** Reads `config.json` and safetensors weights from a folder. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<MotionAdapter> {
    const plan = await planLoad(dir, options, 'motion_adapter')
    const config = await readConfig(plan.source)
    return new MotionAdapter(await loadNative(plan, config, native.NativeMotion.load), plan)
  }

  /** Builds the adapter from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static async fromWeights(
    config: Partial<MotionAdapterConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<MotionAdapter> {
    const plan = planWeights(weights, options, 'motion_adapter')
    return new MotionAdapter(await loadNative(plan, checkOptions('config', config), native.NativeMotion.load), plan)
  }
}

/** The native side of an adapter; throws `InvalidArgumentError` for anything else. */
export function motionHandle(adapter: unknown, name: string): NativeMotion {
  const handle = adapter instanceof MotionAdapter ? handles.get(adapter) : undefined
  if (handle === undefined) {
    throw expected('a MotionAdapter', name, adapter)
  }
  return handle
}
