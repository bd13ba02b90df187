import { abortable } from '../abort.ts'
import { checkBoolean, checkNumber, checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { type NativeControlNet, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import type { Part, SingleFileOptions } from '../weights/single-file.ts'
import type { FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { Model } from './model.ts'
import { type Network, networkOfFile, networkOfFolder, networkOfWeights } from './network.ts'
import type { UNet2DConditionConfig } from './unet-2d-condition-model.ts'
import { type UNetForwardOptions, unetInput } from './unet-input.ts'

/** Keys of a ControlNet's `config.json` (diffusers `ControlNetModel`), completed with their defaults. */
export type ControlNetConfig = Pick<
  UNet2DConditionConfig,
  'in_channels' | 'block_out_channels' | 'down_block_types' | 'layers_per_block' | 'cross_attention_dim' | 'addition_embed_type'
> & {
  readonly conditioning_channels: number
  readonly conditioning_embedding_out_channels: readonly number[]
  readonly controlnet_conditioning_channel_order: 'rgb' | 'bgr'
  readonly global_pool_conditions: boolean
  readonly [key: string]: unknown
}

/** What a ControlNet adds to a UNet, for `UNetForwardOptions`; scaled already. */
export type ControlNetOutput = {
  /** For `downBlockAdditionalResiduals`: (B, C, h, w) each, (B, C, 1, 1) where the conditions are pooled. */
  downBlockResSamples: Tensor[]
  /** For `midBlockAdditionalResidual`. */
  midBlockResSample: Tensor
}

/** What both kinds of ControlNet are told: what the UNet is told, and how to work. */
export type ControlOptions = Pick<
  UNetForwardOptions,
  'encoderHiddenStates' | 'classLabels' | 'timestepCond' | 'addedCondKwargs' | 'encoderAttentionMask' | 'signal'
> & {
  /** Weakens the residuals of the first blocks, from 1 down to 0.1, so that the control works without a prompt. @default false */
  guessMode?: boolean
}

/** Conditioning of one evaluation of a ControlNet. */
export type ControlNetForwardOptions = ControlOptions & {
  /** Control image (B, conditioning_channels, H, W) in 0 .. 1, RGB; its size is that of the finished picture. */
  controlnetCond: Tensor
  /** Multiplies the residuals. @default 1 */
  conditioningScale?: number
}

/** Throws `ConfigError` where a config is that of the other kind of ControlNet. */
export function checkControlNetClass({ _class_name: found }: Record<string, unknown>, wanted: string, path: string): void {
  if (found !== undefined && found !== wanted) {
    throw new ConfigError(`Expected a ${wanted} in ${path} but received a ${found}: load it by ${found}.fromSingleFile`)
  }
}

/** Steers a UNet by an image: edges, depth, a pose. Immutable, so that calls can share it. Source: diffusers `ControlNetModel`; arXiv:2302.05543. */
export class ControlNetModel extends Model {
  static readonly #network: Network<NativeControlNet, ControlNetModel, Part> = {
    component: 'controlnet',
    load: () => native.NativeControlNet.load,
    make: (handle, plan) => new ControlNetModel(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: ControlNetConfig
  readonly #native: NativeControlNet

  private constructor(handle: NativeControlNet, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as ControlNetConfig)
  }

  /** Reads `config.json` and weights from a folder or the hub. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<ControlNetModel> {
    return networkOfFolder(ControlNetModel.#network, dir, options)
  }

  /**
   * Reads a single file of lllyasviel's layout (`control_model.`) or of diffusers'; its shapes tell SD 1.x, 2.x or SDXL. Whether colours are
   * blue first and conditions are pooled (shuffle) no file tells: give the folder of its config as `config` then.
   */
  static fromSingleFile(path: string, options?: SingleFileOptions): Promise<ControlNetModel> {
    return networkOfFile(ControlNetModel.#network, path, options, (config) => checkControlNetClass(config, 'ControlNetModel', path))
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<ControlNetConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<ControlNetModel> {
    return networkOfWeights(ControlNetModel.#network, config, weights, options)
  }

  /** Evaluates the network once on latents (B, in_channels, h, w). `timestep` is one number for the batch or one for each sample. */
  async forward(
    sample: Tensor,
    timestep: number | Tensor | readonly number[],
    options: ControlNetForwardOptions,
  ): Promise<ControlNetOutput> {
    this.assertUsable()
    const { controlnetCond, conditioningScale = 1, guessMode = false, signal, ...text } = checkOptions('options', options)
    const input = unetInput(sample, timestep, text, this.config.in_channels)
    const control = {
      controlnetCond: handleOf(controlnetCond, 'controlnetCond'),
      conditioningScale: checkNumber('conditioningScale', conditioningScale),
      guessMode: checkBoolean('guessMode', guessMode),
    }
    const output = await abortable(signal, (token) => this.#native.forward(input, control, token))
    return {
      downBlockResSamples: output.downBlockResSamples.map(wrapTensor),
      midBlockResSample: wrapTensor(output.midBlockResSample),
    }
  }
}
