import { abortable } from '../abort.ts'
import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeT2IAdapter, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import type { FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { Model } from './model.ts'
import { type Network, networkOfFolder, networkOfWeights } from './network.ts'

/** Keys of a T2I-Adapter's `config.json` (diffusers `T2IAdapter`), completed with their defaults. */
export type T2IAdapterConfig = {
  readonly in_channels: number
  readonly channels: readonly number[]
  readonly num_res_blocks: number
  readonly downscale_factor: number
  readonly adapter_type: 'full_adapter' | 'full_adapter_xl' | 'light_adapter'
  readonly [key: string]: unknown
}

/** Features of a control image for a UNet, computed once per picture. Source: diffusers `T2IAdapter`; arXiv:2302.08453. */
export class T2IAdapter extends Model {
  static readonly #network: Network<NativeT2IAdapter, T2IAdapter> = {
    component: 'adapter',
    load: () => native.NativeT2IAdapter.load,
    make: (handle, plan) => new T2IAdapter(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: T2IAdapterConfig
  readonly #native: NativeT2IAdapter

  private constructor(handle: NativeT2IAdapter, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as T2IAdapterConfig)
  }

  /** Reads `config.json` and weights from a folder or the hub. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<T2IAdapter> {
    return networkOfFolder(T2IAdapter.#network, dir, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<T2IAdapterConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<T2IAdapter> {
    return networkOfWeights(T2IAdapter.#network, config, weights, options)
  }

  /**
   * Control image (B, in_channels, H, W) in 0 .. 1, sides multiples of `downscale_factor` -> features (B, C, h, w), one for each down block
   * and, of light adapters, one for the middle.
   */
  async forward(image: Tensor, options?: { signal?: AbortSignal }): Promise<Tensor[]> {
    this.assertUsable()
    const { signal } = checkOptions('options', options)
    const handle = handleOf(image, 'image')
    const { in_channels: channels, downscale_factor: factor } = this.config
    const [, found, height = 0, width = 0] = image.shape
    if (image.shape.length !== 4 || found !== channels || height % factor !== 0 || width % factor !== 0) {
      throw expected(`a Tensor of shape [batch, ${channels}, height, width] with sides divisible by ${factor}`, 'image', image)
    }
    return (await abortable(signal, (token) => this.#native.forward(handle, token))).map(wrapTensor)
  }
}
