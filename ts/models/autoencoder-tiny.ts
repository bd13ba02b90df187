import { abortable } from '../abort.ts'
import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeAutoencoderTiny, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import { planSingleFile, type SingleFileOptions } from '../weights/single-file.ts'
import { type FromWeightsOptions, type LoadOptions, type LoadPlan, loadNative, planLoad, planWeights, readConfig } from './load.ts'
import { Model } from './model.ts'

/** Keys of a tiny autoencoder's `config.json` (diffusers `AutoencoderTiny`), completed with their defaults. */
export type AutoencoderTinyConfig = {
  readonly in_channels: number
  readonly out_channels: number
  readonly latent_channels: number
  readonly scaling_factor: number
  readonly [key: string]: unknown
}

/**
 * TAESD: a distilled autoencoder, many times faster than the full one, for previews and drafts. It works on scaled latents, so that nothing
 * is divided before `decode`. Source: diffusers `AutoencoderTiny`.
 */
export class AutoencoderTiny extends Model {
  /** The config, completed with defaults. */
  readonly config: AutoencoderTinyConfig
  readonly #native: NativeAutoencoderTiny

  private constructor(handle: NativeAutoencoderTiny, plan: LoadPlan) {
    super(plan, () => handle.dispose())
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as AutoencoderTinyConfig)
  }

  /** Reads `config.json` and weights from a folder or the hub, such as `madebyollin/taesd`. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<AutoencoderTiny> {
    const plan = await planLoad(dir, options, 'vae')
    const config = await readConfig(plan.source)
    return new AutoencoderTiny(await loadNative(plan, config, native.NativeAutoencoderTiny.load), plan)
  }

  /** Reads a single file with encoder and decoder, such as `taesd.safetensors` in diffusers' names. */
  static async fromSingleFile(path: string, options?: SingleFileOptions): Promise<AutoencoderTiny> {
    const { plan, config } = await planSingleFile(path, options, 'tiny_vae')
    return new AutoencoderTiny(await loadNative(plan, config, native.NativeAutoencoderTiny.load), plan)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static async fromWeights(
    config: Partial<AutoencoderTinyConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<AutoencoderTiny> {
    const plan = planWeights(weights, options, 'vae')
    return new AutoencoderTiny(await loadNative(plan, checkOptions('config', config), native.NativeAutoencoderTiny.load), plan)
  }

  /** Encodes pictures: x (B, in_channels, H, W) in -1 .. 1 -> scaled latents (B, latent_channels, h, w); nothing is drawn. */
  async encode(x: Tensor, options?: { signal?: AbortSignal }): Promise<{ latents: Tensor }> {
    return { latents: await this.#run('encode', x, 'x', this.config.in_channels, options) }
  }

  /** Decodes scaled latents: z (B, latent_channels, h, w) -> pictures (B, out_channels, H, W), about -1 .. 1. */
  async decode(z: Tensor, options?: { signal?: AbortSignal }): Promise<{ sample: Tensor }> {
    return { sample: await this.#run('decode', z, 'z', this.config.latent_channels, options) }
  }

  async #run(
    work: 'encode' | 'decode',
    tensor: Tensor,
    name: string,
    channels: number,
    options: { signal?: AbortSignal } | undefined,
  ): Promise<Tensor> {
    this.assertUsable()
    const { signal } = checkOptions('options', options)
    const handle = handleOf(tensor, name)
    if (tensor.shape.length !== 4 || tensor.shape[1] !== channels) {
      throw expected(`a Tensor of shape [batch, ${channels}, height, width]`, name, tensor)
    }
    return wrapTensor(await abortable(signal, (token) => this.#native[work](handle, token)))
  }
}
