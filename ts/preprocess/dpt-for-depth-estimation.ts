import { abortable } from '../abort.ts'
import { checkOptions } from '../checks.ts'
import type { FromWeightsOptions, LoadOptions, LoadPlan } from '../models/load.ts'
import { Model } from '../models/model.ts'
import { type Network, networkOfFolder, networkOfWeights } from '../models/network.ts'
import { type NativeDpt, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'

/** Keys of a DPT model's `config.json` (transformers `DPTConfig`), completed with their defaults. */
export type DPTConfig = {
  readonly hidden_size: number
  readonly image_size: number
  readonly patch_size: number
  readonly num_channels: number
  readonly neck_hidden_sizes: readonly number[]
  readonly fusion_hidden_size: number
  readonly [key: string]: unknown
}

/** Estimates depth, as Intel/dpt-large and dpt-hybrid-midas do: relative and inverse, near is large. Source: transformers `DPTForDepthEstimation`; arXiv:2103.13413. */
export class DPTForDepthEstimation extends Model {
  static readonly #network: Network<NativeDpt, DPTForDepthEstimation> = {
    component: 'depth',
    load: () => native.NativeDpt.load,
    make: (handle, plan) => new DPTForDepthEstimation(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: DPTConfig
  readonly #native: NativeDpt

  private constructor(handle: NativeDpt, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as DPTConfig)
  }

  /** Reads `config.json` and safetensors weights from a folder. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<DPTForDepthEstimation> {
    return networkOfFolder(DPTForDepthEstimation.#network, dir, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<DPTConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<DPTForDepthEstimation> {
    return networkOfWeights(DPTForDepthEstimation.#network, config, weights, options)
  }

  /** Normalised pixels (B, 3, H, W), H and W multiples of the patch size -> depth (B, H', W'), at dpt-large's sizes H' = H. */
  async forward(pixelValues: Tensor, options?: { signal?: AbortSignal }): Promise<{ predictedDepth: Tensor }> {
    this.assertUsable()
    const handle = handleOf(pixelValues, 'pixelValues')
    const { signal } = checkOptions('options', options)
    return { predictedDepth: wrapTensor(await abortable(signal, (token) => this.#native.forward(handle, token))) }
  }
}
