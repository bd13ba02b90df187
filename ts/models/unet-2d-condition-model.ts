import { abortable } from '../abort.ts'
import { checkNumber, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeTensor, type NativeUnet, type NativeUnetInput, native } from '../native.ts'
import { handleOf, Tensor, wrapTensor } from '../tensor.ts'
import type { TensorArray } from '../tensor-data.ts'
import {
  type FromConfigOptions,
  type FromWeightsOptions,
  type LoadOptions,
  type LoadPlan,
  loadNative,
  planLoad,
  planRandom,
  planWeights,
  readConfig,
} from './load.ts'
import { Model } from './model.ts'

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

/** FreeU's factors: `s` weaken the skip connections, `b` strengthen the backbone, of the first and second up block. */
export type FreeUOptions = { s1: number; s2: number; b1: number; b2: number }

/** Conditioning of one UNet evaluation. */
export type UNetForwardOptions = {
  /** (B, S, cross_attention_dim), from the text encoder. */
  encoderHiddenStates: Tensor
  /** Guidance scale embedding of LCM-like models: (B, time_cond_proj_dim). */
  timestepCond?: Tensor
  /** Class labels: (B) or (B, projection dim). */
  classLabels?: Tensor
  /** SDXL's pooled text embedding (B, D) and size ids (B, 6 or 5). */
  addedCondKwargs?: { textEmbeds?: Tensor; timeIds?: Tensor }
  /** 1 for text, 0 for padding: (B, S). */
  encoderAttentionMask?: Tensor
  /** ControlNet's residuals, one for each skip connection; only together with that of the middle block. */
  downBlockAdditionalResiduals?: readonly Tensor[]
  /** ControlNet's residual of the middle block. */
  midBlockAdditionalResidual?: Tensor
  /** T2I-Adapter's features, one for each down block. */
  downIntrablockAdditionalResiduals?: readonly Tensor[]
  /** Stops the work. */
  signal?: AbortSignal
}

/** The denoising UNet of SD 1.x, 2.x and SDXL. Immutable, so that several generations can share it. Source: diffusers `UNet2DConditionModel`. */
export class UNet2DConditionModel extends Model {
  /** The config, completed with defaults. */
  readonly config: UNet2DConditionConfig
  readonly #native: NativeUnet
  #freeu: FreeUOptions | undefined

  private constructor(handle: NativeUnet, plan: LoadPlan) {
    super(plan, () => handle.dispose())
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as UNet2DConditionConfig)
  }

  /** Reads `config.json` and safetensors weights from a folder or built-in model. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<UNet2DConditionModel> {
    const plan = await planLoad(dir, options, 'unet')
    const config = await readConfig(plan.source)
    return new UNet2DConditionModel(await loadNative(plan, config, native.NativeUnet.load), plan)
  }

  /**
   * Builds the model with random weights, in PyTorch's default distributions: for training, tests and measurements of real sizes.
   *
   * Keys that the config lacks take Python's defaults. Source: diffusers `ModelMixin.from_config`.
   */
  static async fromConfig(config: Partial<UNet2DConditionConfig>, options?: FromConfigOptions): Promise<UNet2DConditionModel> {
    const plan = planRandom(options, 'unet')
    return new UNet2DConditionModel(await loadNative(plan, checkOptions('config', config), native.NativeUnet.load), plan)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static async fromWeights(
    config: Partial<UNet2DConditionConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<UNet2DConditionModel> {
    const plan = planWeights(weights, options, 'unet')
    return new UNet2DConditionModel(await loadNative(plan, checkOptions('config', config), native.NativeUnet.load), plan)
  }

  /**
   * Evaluates the network once.
   *
   * Shapes: sample (B, in_channels, H, W) -> (B, out_channels, H, W). `timestep` is one number for the batch or one for each sample.
   */
  async forward(sample: Tensor, timestep: number | Tensor | readonly number[], options: UNetForwardOptions): Promise<{ sample: Tensor }> {
    this.assertUsable()
    const given = checkOptions('options', options)
    const handle = handleOf(sample, 'sample')
    if (sample.shape.length !== 4 || sample.shape[1] !== this.config.in_channels) {
      throw expected(`a Tensor of shape [batch, ${this.config.in_channels}, height, width]`, 'sample', sample)
    }
    const timesteps = timestepsOf(timestep)
    if (timesteps.length !== 1 && timesteps.length !== sample.shape[0]) {
      throw expected(`one number or ${sample.shape[0]} (the batch size)`, 'timestep', timestep)
    }
    const input = { sample: handle, timesteps, freeu: this.#freeu, ...conditioningOf(given) }
    return { sample: wrapTensor(await abortable(given.signal, (token) => this.#native.forward(input, token))) }
  }

  /** Turns FreeU on for calls that start from now on. Source: arXiv:2309.11497. */
  enableFreeU(options: FreeUOptions): void {
    if (typeof options !== 'object' || options === null) {
      throw expected('an object with s1, s2, b1 and b2', 'options', options)
    }
    const { s1, s2, b1, b2 } = options
    this.#freeu = { s1: checkNumber('s1', s1), s2: checkNumber('s2', s2), b1: checkNumber('b1', b1), b2: checkNumber('b2', b2) }
  }

  /** Turns FreeU off. */
  disableFreeU(): void {
    this.#freeu = undefined
  }
}

function timestepsOf(timestep: unknown): number[] {
  if (timestep instanceof Tensor) {
    return Array.from<number | bigint, number>(timestep.toArray<TensorArray>(), Number)
  }
  const list: unknown[] = Array.isArray(timestep) ? timestep : [timestep]
  return list.map((item) => checkNumber('timestep', item))
}

function conditioningOf(given: UNetForwardOptions): Omit<NativeUnetInput, 'sample' | 'timesteps' | 'freeu'> {
  if ((given.downBlockAdditionalResiduals === undefined) !== (given.midBlockAdditionalResidual === undefined)) {
    const missing = given.midBlockAdditionalResidual === undefined ? 'midBlockAdditionalResidual' : 'downBlockAdditionalResiduals'
    throw expected('residuals of the down blocks and of the middle block together', missing, undefined)
  }
  return {
    encoderHiddenStates: handleOf(given.encoderHiddenStates, 'encoderHiddenStates'),
    timestepCond: optional(given.timestepCond, 'timestepCond'),
    classLabels: optional(given.classLabels, 'classLabels'),
    textEmbeds: optional(given.addedCondKwargs?.textEmbeds, 'addedCondKwargs.textEmbeds'),
    timeIds: optional(given.addedCondKwargs?.timeIds, 'addedCondKwargs.timeIds'),
    encoderAttentionMask: optional(given.encoderAttentionMask, 'encoderAttentionMask'),
    downBlockAdditionalResiduals: list(given.downBlockAdditionalResiduals, 'downBlockAdditionalResiduals'),
    midBlockAdditionalResidual: optional(given.midBlockAdditionalResidual, 'midBlockAdditionalResidual'),
    downIntrablockAdditionalResiduals: list(given.downIntrablockAdditionalResiduals, 'downIntrablockAdditionalResiduals'),
  }
}

function list(tensors: readonly Tensor[] | undefined, name: string): NativeTensor[] | undefined {
  if (tensors !== undefined && !Array.isArray(tensors)) {
    throw expected('an array of Tensors', name, tensors)
  }
  return tensors?.map((tensor, i) => handleOf(tensor, `${name}[${i}]`))
}

function optional(tensor: Tensor | undefined, name: string): NativeTensor | undefined {
  return tensor === undefined || tensor === null ? undefined : handleOf(tensor, name)
}
