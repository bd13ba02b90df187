import { abortable } from '../abort.ts'
import { checkInteger, checkNumber, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeAutoencoderKl, type NativeTensor, type NativeVaeOptions, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import type { Part, SingleFileOptions } from '../weights/single-file.ts'
import { DiagonalGaussianDistribution } from './diagonal-gaussian-distribution.ts'
import type { FromConfigOptions, FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { type MemoryNeed, memoryNeed } from './memory-need.ts'
import { Model } from './model.ts'
import { type Network, networkOfFile, networkOfFolder, networkOfWeights, randomNetwork } from './network.ts'

/** Keys of a VAE's `config.json` (diffusers `AutoencoderKL`), completed with their defaults. */
export type AutoencoderKLConfig = {
  readonly in_channels: number
  readonly out_channels: number
  readonly latent_channels: number
  readonly block_out_channels: readonly number[]
  readonly layers_per_block: number
  readonly norm_num_groups: number
  readonly sample_size: number
  readonly scaling_factor: number
  readonly shift_factor: number | null
  readonly latents_mean: readonly number[] | null
  readonly latents_std: readonly number[] | null
  readonly force_upcast: boolean
  readonly [key: string]: unknown
}

/** How a big picture is cut into overlapping tiles. */
export type TilingOptions = {
  /** Edge of a tile in pixels; pictures up to this size are not cut. @default `sample_size` of the config */
  tileSampleMinSize?: number
  /** Part of a tile that overlaps its neighbour, 0 to under 1. @default 0.25 */
  tileOverlapFactor?: number
}

/** How one decoding runs. */
export type DecodeOptions = {
  /** Cuts this picture into tiles. @default as `enableTiling` says */
  tiling?: TilingOptions
  /** Keeps no second, larger form of the convolutions' weights, which is slower. @default false */
  saveMemory?: boolean
  /** Stops the work. */
  signal?: AbortSignal
}

/** The autoencoder between pictures and latents. No scaling factor is applied. Source: diffusers `AutoencoderKL`. */
export class AutoencoderKL extends Model {
  static readonly #network: Network<NativeAutoencoderKl, AutoencoderKL, Part> = {
    component: 'vae',
    load: () => native.NativeAutoencoderKl.load,
    make: (handle, plan) => new AutoencoderKL(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: AutoencoderKLConfig
  readonly #native: NativeAutoencoderKl
  #tiling: Required<TilingOptions> | undefined
  #slicing = false

  private constructor(handle: NativeAutoencoderKl, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    const unscaled = { latents_mean: null, latents_std: null }
    this.config = Object.freeze({ ...unscaled, ...(JSON.parse(handle.config) as AutoencoderKLConfig) })
  }

  /** Reads `config.json` and safetensors weights from a folder or built-in model. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<AutoencoderKL> {
    return networkOfFolder(AutoencoderKL.#network, dir, options)
  }

  /** Reads the autoencoder of a single file: a whole checkpoint, or the VAE alone. A lone VAE takes SD 1.x's scaling factor unless `config` says otherwise. */
  static fromSingleFile(path: string, options?: SingleFileOptions): Promise<AutoencoderKL> {
    return networkOfFile(AutoencoderKL.#network, path, options)
  }

  /**
   * Builds the model with random weights, in PyTorch's default distributions: for training, tests and measurements of real sizes.
   *
   * Keys that the config lacks take Python's defaults. Source: diffusers `ModelMixin.from_config`.
   */
  static fromConfig(config: Partial<AutoencoderKLConfig>, options?: FromConfigOptions): Promise<AutoencoderKL> {
    return randomNetwork(AutoencoderKL.#network, config, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<AutoencoderKLConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<AutoencoderKL> {
    return networkOfWeights(AutoencoderKL.#network, config, weights, options)
  }

  /** Pixels per latent along one edge, 8 for Stable Diffusion. */
  get scaleFactor(): number {
    return 2 ** (this.config.block_out_channels.length - 1)
  }

  /** Encodes pictures: x (B, in_channels, H, W) in -1 .. 1 -> a distribution over (B, latent_channels, H / 8, W / 8). */
  async encode(x: Tensor, options?: { signal?: AbortSignal }): Promise<{ latentDist: DiagonalGaussianDistribution }> {
    const moments = await this.#run('encode', x, 'x', this.config.in_channels, options)
    return { latentDist: new DiagonalGaussianDistribution(moments) }
  }

  /** Decodes latents: z (B, latent_channels, h, w) -> pictures (B, out_channels, 8h, 8w), about -1 .. 1. */
  async decode(z: Tensor, options?: DecodeOptions): Promise<{ sample: Tensor }> {
    return { sample: await this.#run('decode', z, 'z', this.config.latent_channels, options) }
  }

  /** Memory that `decode` with these arguments would need; nothing is computed. */
  async decodeMemory(z: Tensor, options?: DecodeOptions): Promise<MemoryNeed> {
    const { handle, settings } = this.#arguments(z, 'z', this.config.latent_channels, options)
    return memoryNeed(await abortable(options?.signal, (token) => this.#native.decodeNeed(handle, settings, token)))
  }

  /** Cuts big pictures into blended tiles from now on, which needs less memory. */
  enableTiling(options?: TilingOptions): void {
    this.#tiling = this.#tiles(checkOptions('options', options))
  }

  /** Treats every picture as a whole again. */
  disableTiling(): void {
    this.#tiling = undefined
  }

  /** Treats the pictures of a batch one after the other, which needs less memory. */
  enableSlicing(): void {
    this.#slicing = true
  }

  /** Treats a batch at once again. */
  disableSlicing(): void {
    this.#slicing = false
  }

  async #run(
    work: 'encode' | 'decode',
    tensor: Tensor,
    name: string,
    channels: number,
    options: DecodeOptions | undefined,
  ): Promise<Tensor> {
    this.assertRuns()
    const { handle, settings } = this.#arguments(tensor, name, channels, options)
    return wrapTensor(await abortable(options?.signal, (token) => this.#native[work](handle, settings, token)))
  }

  #arguments(
    tensor: Tensor,
    name: string,
    channels: number,
    options: DecodeOptions | undefined,
  ): { handle: NativeTensor; settings: NativeVaeOptions } {
    this.assertUsable()
    const { saveMemory, tiling = this.#tiling } = checkOptions('options', options)
    const handle = handleOf(tensor, name)
    if (tensor.shape.length !== 4 || tensor.shape[1] !== channels) {
      throw expected(`a Tensor of shape [batch, ${channels}, height, width]`, name, tensor)
    }
    return { handle, settings: { slicing: this.#slicing, tiling: tiling && this.#tiles(tiling), savesMemory: saveMemory } }
  }

  #tiles(given: TilingOptions): Required<TilingOptions> {
    return {
      tileSampleMinSize: checkInteger('tileSampleMinSize', given.tileSampleMinSize ?? this.config.sample_size, { min: this.scaleFactor }),
      tileOverlapFactor: checkNumber('tileOverlapFactor', given.tileOverlapFactor ?? 0.25, { min: 0, max: 0.9 }),
    }
  }
}
