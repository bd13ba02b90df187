import { abortable } from '../abort.ts'
import type { WeightedAdapter } from '../adapters/lora-adapter.ts'
import { nativeAdapters } from '../adapters/native-adapters.ts'
import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeCancelToken, type NativeUnet, type NativeUnetInput, native } from '../native.ts'
import { type Tensor, wrapTensor } from '../tensor.ts'
import type { Part, SingleFileOptions } from '../weights/single-file.ts'
import { LazyNative } from './lazy-native.ts'
import { type FromConfigOptions, type FromWeightsOptions, type LoadOptions, planLoad, readConfig } from './load.ts'
import { type MemoryNeed, memoryNeed } from './memory-need.ts'
import { Model, type ModelPlace } from './model.ts'
import { isMotionUnet, MOTION_WEIGHTS, spatialConfig } from './motion-unet-config.ts'
import { buildNetwork, type Network, networkOfFile, networkOfWeights, randomNetwork } from './network.ts'
import { checkFreeU, type FreeUOptions, motionInput, type UNetForwardOptions, type UNetImageOptions, unetInput } from './unet-input.ts'

/** Keys of a UNet's `config.json` (diffusers `UNet2DConditionModel`), completed with their defaults. */
export type UNet2DConditionConfig = {
  readonly sample_size: number | readonly [number, number] | null
  readonly in_channels: number
  readonly out_channels: number
  readonly block_out_channels: readonly number[]
  readonly down_block_types: readonly string[]
  readonly up_block_types: readonly string[]
  readonly layers_per_block: number | readonly number[]
  readonly cross_attention_dim: number | readonly number[]
  readonly attention_head_dim: number | readonly number[]
  readonly addition_embed_type: string | null
  readonly addition_time_embed_dim: number | null
  readonly time_cond_proj_dim: number | null
  readonly projection_class_embeddings_input_dim: number | null
  readonly [key: string]: unknown
}

export type { FreeUOptions, ImagePromptInput, Perturbation, UNetForwardOptions, UNetImageOptions } from './unet-input.ts'

/** Channels that a hint becomes. Source: diffusers embeddings.py `ImageHintTimeEmbedding`. */
const HINT_CHANNELS = 4

/** What a UNet shares with those that adapters make of it: FreeU's factors, and names of attention layers once they were asked for. */
type SharedFacts = { freeu?: FreeUOptions; imageLayers?: readonly string[]; selfAttentionLayers?: readonly string[] }

type AdaptedUNet = { native: LazyNative<NativeUnet>; settings: SharedFacts; config: UNet2DConditionConfig }

/** The native UNet as it was loaded, without adapters. */
export let nativeUnetOf: (unet: UNet2DConditionModel) => NativeUnet

/** The denoising UNet of SD 1.x, 2.x and SDXL. Immutable, so that several generations can share it. Source: diffusers `UNet2DConditionModel`. */
export class UNet2DConditionModel extends Model {
  static readonly #network: Network<NativeUnet, UNet2DConditionModel, Part> = {
    component: 'unet',
    load: () => native.NativeUnet.load,
    make: (handle, plan) => new UNet2DConditionModel(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: UNet2DConditionConfig
  /** The model as it was loaded. */
  readonly #root: NativeUnet
  readonly #native: LazyNative<NativeUnet>
  readonly #settings: SharedFacts

  private constructor(root: NativeUnet, place: ModelPlace, adapted?: AdaptedUNet) {
    const own = adapted?.native ?? new LazyNative(root)
    super(place, () => own.dispose(), adapted === undefined ? root : undefined)
    this.#root = root
    this.#native = own
    this.#settings = adapted?.settings ?? {}
    this.config = adapted?.config ?? Object.freeze(JSON.parse(root.config) as UNet2DConditionConfig)
  }

  static {
    nativeUnetOf = (unet) => unet.#root
  }

  /** Reads `config.json` and safetensors weights from a folder or built-in model; of a saved `UNetMotionModel` the network without motion. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<UNet2DConditionModel> {
    const plan = await planLoad(dir, options, 'unet')
    const config = await readConfig(plan.source)
    if (isMotionUnet(config)) {
      return buildNetwork(UNet2DConditionModel.#network, plan, spatialConfig(config), MOTION_WEIGHTS)
    }
    return buildNetwork(UNet2DConditionModel.#network, plan, config)
  }

  /** Reads the UNet of a single file of any format: a whole checkpoint, or the UNet alone in LDM's or diffusers' names. */
  static fromSingleFile(path: string, options?: SingleFileOptions): Promise<UNet2DConditionModel> {
    return networkOfFile(UNet2DConditionModel.#network, path, options)
  }

  /**
   * Builds the model with random weights, in PyTorch's default distributions: for training, tests and measurements of real sizes.
   *
   * Keys that the config lacks take Python's defaults. Source: diffusers `ModelMixin.from_config`.
   */
  static fromConfig(config: Partial<UNet2DConditionConfig>, options?: FromConfigOptions): Promise<UNet2DConditionModel> {
    return randomNetwork(UNet2DConditionModel.#network, config, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<UNet2DConditionConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<UNet2DConditionModel> {
    return networkOfWeights(UNet2DConditionModel.#network, config, weights, options)
  }

  /**
   * Evaluates the network once.
   *
   * Shapes: sample (B, in_channels, H, W) -> (B, out_channels, H, W). `timestep` is one number for the batch or one for each sample.
   */
  async forward(
    sample: Tensor,
    timestep: number | Tensor | readonly number[],
    options: UNetForwardOptions | UNetImageOptions,
  ): Promise<{ sample: Tensor }> {
    this.assertRuns()
    const { saveMemory } = checkOptions('options', options)
    const output = await this.#run([sample, timestep, options], (unet, input, token) => unet.forward(input, token, saveMemory))
    return { sample: wrapTensor(output) }
  }

  /** Memory that `forward` with these arguments would need; nothing is computed. */
  async forwardMemory(
    sample: Tensor,
    timestep: number | Tensor | readonly number[],
    options: UNetForwardOptions | UNetImageOptions,
  ): Promise<MemoryNeed> {
    const { saveMemory = false } = checkOptions('options', options)
    return memoryNeed(await this.#run([sample, timestep, options], (unet, input, token) => unet.need(input, token, saveMemory)))
  }

  /** Checks the inputs and hands them to native code, at once if nothing has to be built first. */
  async #run<R>(
    [sample, timestep, options]: Parameters<UNet2DConditionModel['forward']>,
    work: (unet: NativeUnet, input: NativeUnetInput, token: NativeCancelToken) => Promise<R>,
  ): Promise<R> {
    this.assertUsable()
    const given = checkOptions('options', options)
    const { perturbed, motion, signal } = given
    const input: NativeUnetInput = {
      ...unetInput(sample, timestep, { freeu: this.#settings.freeu, ...given }, this.sampleChannels),
      perturbed: perturbed && { layers: this.matchingLayers(perturbed.layers), samples: perturbed.samples },
    }
    const moving = motion && (await motionInput(motion, signal))
    return this.#native.run(signal, (unet) => abortable(signal, (token) => work(unet, { ...input, ...moving }, token)))
  }

  /**
   * This UNet as it was loaded, with these adapters and no others: a model of its own that shares all layers that they leave alone.
   *
   * The changed layers are built by `prepare` or by the first call. Throws `InvalidArgumentError` for blocks that the UNet does not have. Source:
   * diffusers `UNet2DConditionModel.set_adapters`.
   */
  withAdapters(adapters: readonly WeightedAdapter[]): UNet2DConditionModel {
    this.assertUsable()
    const uses = nativeAdapters(adapters, 'unet', this.config)
    const built = new LazyNative((token) => this.#root.withAdapters(uses, token))
    return new UNet2DConditionModel(this.#root, this, { native: built, settings: this.#settings, config: this.config })
  }

  /** Builds what adapters change now rather than in the first call. */
  async prepare(options?: { signal?: AbortSignal }): Promise<void> {
    this.assertUsable()
    await this.#native.get(checkOptions('options', options).signal)
  }

  /** Turns FreeU on for calls that start from now on. Source: arXiv:2309.11497. */
  enableFreeU(options: FreeUOptions): void {
    this.#settings.freeu = checkFreeU(options)
  }

  /** Turns FreeU off. */
  disableFreeU(): void {
    this.#settings.freeu = undefined
  }

  /** Channels of the samples that `forward` takes: `in_channels`, without those that are made of a hint. */
  get sampleChannels(): number {
    return this.config.in_channels - (this.config.addition_embed_type === 'image_hint' ? HINT_CHANNELS : 0)
  }

  /** Names of the cross-attention layers that image prompts attach to, such as `mid_block.attentions.0.transformer_blocks.0.attn2`. */
  get imageLayers(): readonly string[] {
    this.assertUsable()
    this.#settings.imageLayers ??= this.#root.imageLayers
    return this.#settings.imageLayers
  }

  /**
   * Numbers of the self-attention layers whose name matches one of the patterns (regular expressions).
   *
   * Throws `InvalidArgumentError` for a pattern that matches none. Source: diffusers `PAGMixin._set_pag_attn_processor`.
   */
  matchingLayers(patterns: readonly string[]): number[] {
    const names = this.selfAttentionLayers
    const found = patterns.map((pattern) => {
      const expression = new RegExp(pattern)
      const numbers = names.flatMap((name, i) => (expression.test(name) ? [i] : []))
      if (numbers.length === 0) {
        throw expected(`a part of a name such as ${names.slice(0, 2).join(' or ')}`, 'layers', pattern)
      }
      return numbers
    })
    return [...new Set(found.flat())]
  }

  /** Names of the self-attention layers over the image, which a call may perturb. */
  get selfAttentionLayers(): readonly string[] {
    this.assertUsable()
    this.#settings.selfAttentionLayers ??= this.#root.selfAttentionLayers
    return this.#settings.selfAttentionLayers
  }
}
