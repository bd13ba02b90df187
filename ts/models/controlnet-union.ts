import { abortable } from '../abort.ts'
import { checkBoolean, checkNumber, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeControlNetUnion, native } from '../native.ts'
import { handleOf, Tensor, wrapTensor } from '../tensor.ts'
import type { Part, SingleFileOptions } from '../weights/single-file.ts'
import { type ControlNetConfig, type ControlNetOutput, type ControlOptions, checkControlNetClass } from './controlnet.ts'
import type { FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { Model } from './model.ts'
import { type Network, networkOfFile, networkOfFolder, networkOfWeights } from './network.ts'
import { unetInput } from './unet-input.ts'

/** Keys of a union ControlNet's `config.json` (diffusers `ControlNetUnionModel`), completed with their defaults. */
export type ControlNetUnionConfig = ControlNetConfig & {
  /** How many kinds of control image there are. */
  readonly num_control_type: number
}

/** Conditioning of one evaluation of a union ControlNet. */
export type ControlNetUnionForwardOptions = ControlOptions & {
  /** Control images (B, 3, H, W) in 0 .. 1, one per entry of `controlTypeIdx`. */
  controlnetCond: readonly Tensor[]
  /** The kind of each image, below `num_control_type`. */
  controlTypeIdx: readonly number[]
  /** One for all images or one each. @default 1 */
  conditioningScale?: number | readonly number[]
}

/** One ControlNet for several kinds of control image. Source: diffusers `ControlNetUnionModel`. */
export class ControlNetUnionModel extends Model {
  static readonly #network: Network<NativeControlNetUnion, ControlNetUnionModel, Part> = {
    component: 'controlnet',
    load: () => native.NativeControlNetUnion.load,
    make: (handle, plan) => new ControlNetUnionModel(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: ControlNetUnionConfig
  readonly #native: NativeControlNetUnion

  private constructor(handle: NativeControlNetUnion, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as ControlNetUnionConfig)
  }

  /** Reads `config.json` and weights from a folder or the hub. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<ControlNetUnionModel> {
    return networkOfFolder(ControlNetUnionModel.#network, dir, options)
  }

  /** Reads a single file in diffusers' names, as union nets are published; its shapes tell how many kinds of control image there are. */
  static fromSingleFile(path: string, options?: SingleFileOptions): Promise<ControlNetUnionModel> {
    return networkOfFile(ControlNetUnionModel.#network, path, options, (config) =>
      checkControlNetClass(config, 'ControlNetUnionModel', path),
    )
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<ControlNetUnionConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<ControlNetUnionModel> {
    return networkOfWeights(ControlNetUnionModel.#network, config, weights, options)
  }

  /** Evaluates the network once on latents (B, in_channels, h, w). `timestep` is one number for the batch or one for each sample. */
  async forward(
    sample: Tensor,
    timestep: number | Tensor | readonly number[],
    options: ControlNetUnionForwardOptions,
  ): Promise<ControlNetOutput> {
    this.assertUsable()
    const { controlnetCond, controlTypeIdx, conditioningScale = 1, guessMode = false, signal, ...text } = checkOptions('options', options)
    const input = unetInput(sample, timestep, text, this.config.in_channels)
    this.#checkTypes(controlnetCond, controlTypeIdx)
    const scales = Array.isArray(conditioningScale) ? (conditioningScale as readonly number[]) : [conditioningScale as number]
    const types = Array.from({ length: this.config.num_control_type }, (_, type) => (controlTypeIdx.includes(type) ? 1 : 0))
    using controlType = Tensor.from(
      Array.from({ length: sample.shape[0] ?? 1 }, () => types),
      undefined,
      'f32',
    )
    const control = {
      controlnetCond: controlnetCond.map((image, i) => handleOf(image, `controlnetCond[${i}]`)),
      controlType: handleOf(controlType, 'controlType'),
      controlTypeIdx: [...controlTypeIdx],
      conditioningScale: scales.map((scale) => checkNumber('conditioningScale', scale)),
      guessMode: checkBoolean('guessMode', guessMode),
    }
    const output = await abortable(signal, (token) => this.#native.forward(input, control, token))
    return {
      downBlockResSamples: output.downBlockResSamples.map(wrapTensor),
      midBlockResSample: wrapTensor(output.midBlockResSample),
    }
  }

  #checkTypes(images: unknown, types: unknown): void {
    const most = this.config.num_control_type
    if (!Array.isArray(images) || images.length === 0) {
      throw expected('a non-empty array of Tensors', 'controlnetCond', images)
    }
    if (
      !Array.isArray(types) ||
      types.length !== images.length ||
      !types.every((type) => Number.isInteger(type) && type >= 0 && type < most)
    ) {
      throw expected(`${images.length} whole numbers from 0 to ${most - 1}`, 'controlTypeIdx', types)
    }
  }
}
