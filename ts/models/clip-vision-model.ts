import { abortable } from '../abort.ts'
import { checkBoolean, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeClipVision, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import type { FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { Model } from './model.ts'
import { type Network, networkOfFolder, networkOfWeights } from './network.ts'

/** Keys of a CLIP image encoder's `config.json` (transformers `CLIPVisionConfig`), completed with their defaults. */
export type CLIPVisionConfig = {
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly projection_dim: number
  readonly num_hidden_layers: number
  readonly num_attention_heads: number
  readonly num_channels: number
  readonly image_size: number
  readonly patch_size: number
  readonly hidden_act: string
  readonly layer_norm_eps: number
  readonly [key: string]: unknown
}

/** Options of an image encoder's `forward`. */
export type CLIPVisionForwardOptions = {
  /** Also gives the embeddings and the output of each layer, as IP-Adapter Plus needs. @default false */
  outputHiddenStates?: boolean
  /** Stops the work. */
  signal?: AbortSignal
}

/** What an image encoder gives for (B, 3, image_size, image_size) pixels. */
export type CLIPVisionModelOutput = {
  /** Class token and patches, before the last layer norm: (B, 1 + patches, hidden). */
  lastHiddenState: Tensor
  /** The class token after the last layer norm: (B, hidden). */
  poolerOutput: Tensor
  /** Embeddings, then each layer's output: layers + 1 tensors (B, 1 + patches, hidden). */
  hiddenStates?: Tensor[]
}

/** What an image encoder with projection gives: also the projected class token. */
export type CLIPVisionModelWithProjectionOutput = CLIPVisionModelOutput & {
  /** (B, projection_dim). */
  imageEmbeds: Tensor
}

abstract class ImageEncoder extends Model {
  /** The config, completed with defaults. */
  readonly config: CLIPVisionConfig
  readonly #native: NativeClipVision

  protected constructor(handle: unknown, plan: LoadPlan) {
    const clip = handle as NativeClipVision
    super(plan, () => clip.dispose(), clip)
    this.#native = clip
    this.config = Object.freeze(JSON.parse(clip.config) as CLIPVisionConfig)
  }

  protected async run(pixelValues: Tensor, options?: CLIPVisionForwardOptions): Promise<CLIPVisionModelOutput & { imageEmbeds?: Tensor }> {
    this.assertUsable()
    const { outputHiddenStates = false, signal } = checkOptions('options', options)
    checkBoolean('outputHiddenStates', outputHiddenStates)
    const handle = handleOf(pixelValues, 'pixelValues')
    const { num_channels: channels, image_size: size } = this.config
    const [batch = 0, ...rest] = pixelValues.shape
    if (batch < 1 || String(rest) !== String([channels, size, size])) {
      throw expected(`a Tensor of shape [batch, ${channels}, ${size}, ${size}]`, 'pixelValues', pixelValues)
    }
    const output = await abortable(signal, (token) => this.#native.forward(handle, outputHiddenStates, token))
    return {
      lastHiddenState: wrapTensor(output.lastHiddenState),
      poolerOutput: wrapTensor(output.poolerOutput),
      ...(outputHiddenStates ? { hiddenStates: output.hiddenStates.map(wrapTensor) } : {}),
      ...(output.imageEmbeds === undefined ? {} : { imageEmbeds: wrapTensor(output.imageEmbeds) }),
    }
  }
}

/** CLIP's image encoder, as in Stable Diffusion's safety checker. Source: transformers `CLIPVisionModel`. */
export class CLIPVisionModel extends ImageEncoder {
  static readonly #network: Network<NativeClipVision, CLIPVisionModel> = {
    component: 'image_encoder',
    load: () => native.NativeClipVision.load,
    make: (handle, plan) => new CLIPVisionModel(handle, plan),
  }

  /** Reads `config.json` and safetensors weights from a folder. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<CLIPVisionModel> {
    return networkOfFolder(CLIPVisionModel.#network, dir, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<CLIPVisionConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<CLIPVisionModel> {
    return networkOfWeights(CLIPVisionModel.#network, config, weights, options)
  }

  /** Encodes pixels that a `CLIPImageProcessor` made: (B, 3, image_size, image_size). */
  async forward(pixelValues: Tensor, options?: CLIPVisionForwardOptions): Promise<CLIPVisionModelOutput> {
    return this.run(pixelValues, options)
  }
}

/** CLIP's image encoder with its projection, as IP-Adapter uses. Source: transformers `CLIPVisionModelWithProjection`. */
export class CLIPVisionModelWithProjection extends ImageEncoder {
  static readonly #network: Network<NativeClipVision, CLIPVisionModelWithProjection> = {
    component: 'image_encoder',
    load: () => native.NativeClipVision.loadWithProjection,
    make: (handle, plan) => new CLIPVisionModelWithProjection(handle, plan),
  }

  /** Reads `config.json` and safetensors weights from a folder. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<CLIPVisionModelWithProjection> {
    return networkOfFolder(CLIPVisionModelWithProjection.#network, dir, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<CLIPVisionConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<CLIPVisionModelWithProjection> {
    return networkOfWeights(CLIPVisionModelWithProjection.#network, config, weights, options)
  }

  /** Encodes pixels that a `CLIPImageProcessor` made: (B, 3, image_size, image_size). */
  async forward(pixelValues: Tensor, options?: CLIPVisionForwardOptions): Promise<CLIPVisionModelWithProjectionOutput> {
    const { imageEmbeds, ...output } = await this.run(pixelValues, options)
    return { ...output, imageEmbeds: imageEmbeds ?? output.poolerOutput }
  }
}
