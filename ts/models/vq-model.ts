import { abortable } from '../abort.ts'
import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeTensor, type NativeVqModel, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import type { FromConfigOptions, FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { type MemoryNeed, memoryNeed } from './memory-need.ts'
import { Model } from './model.ts'
import { type Network, networkOfFolder, networkOfWeights, randomNetwork } from './network.ts'

/** Keys of a VQModel's `config.json` (diffusers `VQModel`), completed with their defaults. */
export type VQModelConfig = {
  readonly in_channels: number
  readonly out_channels: number
  readonly latent_channels: number
  readonly block_out_channels: readonly number[]
  readonly layers_per_block: number
  readonly norm_num_groups: number
  readonly num_vq_embeddings: number
  readonly vq_embed_dim: number | null
  readonly sample_size: number
  readonly scaling_factor: number
  /** `spatial` is MoVQ: the decoder's norms read the latents. */
  readonly norm_type: 'group' | 'spatial'
  readonly [key: string]: unknown
}

/** How one decoding runs. */
export type VQDecodeOptions = {
  /** Decodes latents as they are instead of the nearest vectors of the codebook. @default false */
  forceNotQuantize?: boolean
  /** Keeps no second, larger form of the convolutions' weights, which is slower. @default false */
  saveMemory?: boolean
  /** Stops the work. */
  signal?: AbortSignal
}

/** The autoencoder with a codebook; with spatial norms it is Kandinsky's MoVQ. No scaling factor is applied. Source: diffusers `VQModel`. */
export class VQModel extends Model {
  static readonly #network: Network<NativeVqModel, VQModel> = {
    component: 'movq',
    load: () => native.NativeVqModel.load,
    make: (handle, plan) => new VQModel(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: VQModelConfig
  readonly #native: NativeVqModel

  private constructor(handle: NativeVqModel, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as VQModelConfig)
  }

  /** Reads `config.json` and safetensors weights from a folder. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<VQModel> {
    return networkOfFolder(VQModel.#network, dir, options)
  }

  /** Builds the model with random weights; keys that the config lacks take Python's defaults. See `UNet2DConditionModel.fromConfig`. */
  static fromConfig(config: Partial<VQModelConfig>, options?: FromConfigOptions): Promise<VQModel> {
    return randomNetwork(VQModel.#network, config, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(config: Partial<VQModelConfig>, weights: Record<string, Tensor>, options?: FromWeightsOptions): Promise<VQModel> {
    return networkOfWeights(VQModel.#network, config, weights, options)
  }

  /** Pixels per latent along one edge, 8 for Kandinsky. */
  get scaleFactor(): number {
    return 2 ** (this.config.block_out_channels.length - 1)
  }

  /** Encodes pictures: x (B, in_channels, H, W) in -1 .. 1 -> latents (B, vq_embed_dim, h, w), not quantized. */
  async encode(x: Tensor, options?: { signal?: AbortSignal }): Promise<{ latents: Tensor }> {
    const handle = this.#image(x, 'x', this.config.in_channels)
    const { signal } = checkOptions('options', options)
    return { latents: wrapTensor(await abortable(signal, (token) => this.#native.encode(handle, token))) }
  }

  /** Decodes latents: z (B, vq_embed_dim, h, w) -> pictures (B, out_channels, H, W), about -1 .. 1. */
  async decode(z: Tensor, options?: VQDecodeOptions): Promise<{ sample: Tensor }> {
    const handle = this.#image(z, 'z', this.#width)
    const { forceNotQuantize = false, saveMemory: savesMemory = false, signal } = checkOptions('options', options)
    const settings = { forceNotQuantize, savesMemory }
    return { sample: wrapTensor(await abortable(signal, (token) => this.#native.decode(handle, settings, token))) }
  }

  /** Memory that `decode` with these arguments would need; nothing is computed. */
  async decodeMemory(z: Tensor, options?: VQDecodeOptions): Promise<MemoryNeed> {
    const handle = this.#image(z, 'z', this.#width)
    const { saveMemory: savesMemory = false, signal } = checkOptions('options', options)
    const settings = { forceNotQuantize: true, savesMemory }
    return memoryNeed(await abortable(signal, (token) => this.#native.decodeNeed(handle, settings, token)))
  }

  get #width(): number {
    return this.config.vq_embed_dim ?? this.config.latent_channels
  }

  #image(tensor: Tensor, name: string, channels: number): NativeTensor {
    this.assertUsable()
    const handle = handleOf(tensor, name)
    if (tensor.shape.length !== 4 || tensor.shape[1] !== channels) {
      throw expected(`a Tensor of shape [batch, ${channels}, height, width]`, name, tensor)
    }
    return handle
  }
}
