import { abortable } from '../abort.ts'
import { checkOptions } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { type NativeAutoencoderTiny, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import { type PlannedFile, planSingleFile, type SingleFileOptions } from '../weights/single-file.ts'
import type { FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { Model } from './model.ts'
import { buildNetwork, type Network, networkOfFolder, networkOfWeights } from './network.ts'

/** Keys of a tiny autoencoder's `config.json` (diffusers `AutoencoderTiny`), completed with their defaults. */
export type AutoencoderTinyConfig = {
  readonly in_channels: number
  readonly out_channels: number
  readonly latent_channels: number
  readonly scaling_factor: number
  readonly [key: string]: unknown
}

/** Throws `ConfigError` unless the files have an encoder and a decoder, each once. */
function checkHalves(paths: readonly string[], files: readonly PlannedFile[]): void {
  const halves = files.flatMap(({ facts }) => facts.halves ?? [])
  if (halves.length !== 2 || new Set(halves).size !== 2) {
    throw new ConfigError(
      `Expected an encoder and a decoder for path but received ${paths.join(' and ')} with ${halves.join(' and ') || 'neither'}: give both files, [encoder, decoder]`,
    )
  }
}

/**
 * TAESD: a distilled autoencoder, many times faster than the full one, for previews and drafts. It works on scaled latents, so that nothing
 * is divided before `decode`. Source: diffusers `AutoencoderTiny`.
 */
export class AutoencoderTiny extends Model {
  static readonly #network: Network<NativeAutoencoderTiny, AutoencoderTiny> = {
    component: 'vae',
    load: () => native.NativeAutoencoderTiny.load,
    make: (handle, plan) => new AutoencoderTiny(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: AutoencoderTinyConfig
  readonly #native: NativeAutoencoderTiny

  private constructor(handle: NativeAutoencoderTiny, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as AutoencoderTinyConfig)
  }

  /** Reads `config.json` and weights from a folder or the hub, such as `madebyollin/taesd`. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<AutoencoderTiny> {
    return networkOfFolder(AutoencoderTiny.#network, dir, options)
  }

  /**
   * Reads a single file with encoder and decoder, in diffusers' names or TAESD's own (also with `taesd_` before them); or TAESD's two files
   * `[encoder, decoder]`, in any order: `taesd_encoder.safetensors` and `taesd_decoder.safetensors`, or the same of `taesdxl`.
   */
  static async fromSingleFile(path: string | readonly [string, string], options?: SingleFileOptions): Promise<AutoencoderTiny> {
    const paths = typeof path === 'string' ? [path] : path
    if (!Array.isArray(paths) || paths.length === 0) {
      throw expected('a file, or two', 'path', path)
    }
    const files = await Promise.all(paths.map((path) => planSingleFile(path, options, 'tiny_vae')))
    const [{ plan, config }] = files as [PlannedFile, ...PlannedFile[]]
    checkHalves(paths, files)
    return buildNetwork(AutoencoderTiny.#network, { ...plan, source: paths }, config)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<AutoencoderTinyConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<AutoencoderTiny> {
    return networkOfWeights(AutoencoderTiny.#network, config, weights, options)
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
