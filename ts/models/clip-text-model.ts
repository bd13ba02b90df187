import { abortable } from '../abort.ts'
import type { WeightedAdapter } from '../adapters/lora-adapter.ts'
import { nativeAdapters } from '../adapters/native-adapters.ts'
import { checkBoolean, checkIntegers, checkOptions } from '../checks.ts'
import { expected, guard } from '../errors.ts'
import { type NativeClip, type NativeTensor, native } from '../native.ts'
import { handleOf, Tensor, wrapTensor } from '../tensor.ts'
import type { Part, SingleFileOptions } from '../weights/single-file.ts'
import type { TokenizerOutput } from './clip-tokenizer.ts'
import { LazyNative } from './lazy-native.ts'
import type { FromConfigOptions, FromWeightsOptions, LoadOptions } from './load.ts'
import { Model, type ModelPlace } from './model.ts'
import { type Network, networkOfFile, networkOfFolder, networkOfWeights, randomNetwork } from './network.ts'

/** Keys of a CLIP text encoder's `config.json` (transformers `CLIPTextConfig`), completed with their defaults. */
export type CLIPTextConfig = {
  readonly vocab_size: number
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly projection_dim: number
  readonly num_hidden_layers: number
  readonly num_attention_heads: number
  readonly max_position_embeddings: number
  readonly hidden_act: string
  readonly layer_norm_eps: number
  readonly eos_token_id: number
  readonly [key: string]: unknown
}

/** Options of a text encoder's `forward`. */
export type CLIPForwardOptions = {
  /** 1 for text, 0 for positions that no other may look at: (B, L). Stable Diffusion gives none. */
  attentionMask?: Tensor
  /** Also gives the embeddings and the output of each layer, as needed for clip skip. @default false */
  outputHiddenStates?: boolean
  /** Stops the work. */
  signal?: AbortSignal
}

/** What a text encoder gives for (B, L) ids. */
export type CLIPTextModelOutput = {
  /** After the final layer norm: (B, L, hidden). */
  lastHiddenState: Tensor
  /** The end-of-text position of `lastHiddenState`: (B, hidden). */
  poolerOutput: Tensor
  /** Embeddings, then each layer's output, before the final layer norm: layers + 1 tensors (B, L, hidden). */
  hiddenStates?: Tensor[]
}

/** What a text encoder with projection gives: also the projected end-of-text state. */
export type CLIPTextModelWithProjectionOutput = CLIPTextModelOutput & {
  /** (B, projection_dim). */
  textEmbeds: Tensor
}

/** The native encoder without adapters. */
export let nativeClipOf: (encoder: TextEncoder) => NativeClip

abstract class TextEncoder extends Model {
  /** The config, completed with defaults. */
  readonly config: CLIPTextConfig
  /** The model without adapters. */
  readonly #root: NativeClip
  readonly #native: LazyNative<NativeClip>

  protected constructor(root: unknown, place: ModelPlace, adapted?: unknown) {
    const clip = root as NativeClip
    const own = adapted instanceof LazyNative ? (adapted as LazyNative<NativeClip>) : new LazyNative(clip)
    super(place, () => own.dispose(), place instanceof Model ? undefined : clip)
    this.#root = clip
    this.#native = own
    this.config = Object.freeze(JSON.parse(clip.config) as CLIPTextConfig)
  }

  static {
    nativeClipOf = (encoder) => encoder.#root
  }

  /**
   * This encoder as it was loaded (added tokens stay), with these adapters and no others: a model of its own that shares all layers that they
   * leave alone. `role` tells which of a pipeline's encoders it is. The changed layers are built by `prepare` or by the first call.
   */
  withAdapters(adapters: readonly WeightedAdapter[], role: 'textEncoder' | 'textEncoder2' = 'textEncoder'): this {
    this.assertUsable()
    const uses = nativeAdapters(adapters, role)
    const component = role === 'textEncoder' ? 'text_encoder' : 'text_encoder_2'
    return this.again(this.#root, new LazyNative((token) => this.#root.withAdapters(component, uses, token)))
  }

  /**
   * This encoder without adapters and with embeddings (n, hidden) for these token ids, and for no other added ones: a model of its own that
   * shares all layers. Ids beyond the vocabulary must go on where it ends.
   */
  withTokenEmbeddings(ids: readonly number[], embeddings: Tensor): this {
    this.assertUsable()
    const list = checkIntegers('ids', ids, { min: 0, max: 2 ** 32 - 1 })
    const rows = handleOf(embeddings, 'embeddings')
    return this.again(guard(() => this.#root.withTokens(list, rows)))
  }

  /** The table of token embeddings (vocab_size, hidden), those of added tokens too. */
  async tokenEmbeddings(options?: { signal?: AbortSignal }): Promise<Tensor> {
    this.assertRuns()
    const { signal } = checkOptions('options', options)
    return wrapTensor(await abortable(signal, (token) => this.#root.tokenEmbedding(token)))
  }

  /** Builds what adapters change now rather than in the first call. */
  async prepare(options?: { signal?: AbortSignal }): Promise<void> {
    this.assertUsable()
    await this.#native.get(checkOptions('options', options).signal)
  }

  /** A model of the same class. */
  protected abstract again(root: unknown, adapted?: unknown): this

  /**
   * Applies the encoder's last layer norm, as clip skip does to an earlier hidden state.
   *
   * Shapes: x (B, L, hidden) -> (B, L, hidden).
   */
  async finalLayerNorm(x: Tensor, options?: { signal?: AbortSignal }): Promise<Tensor> {
    this.assertUsable()
    const handle = handleOf(x, 'x')
    const { signal } = checkOptions('options', options)
    const work = (clip: NativeClip): Promise<NativeTensor> => abortable(signal, (token) => clip.finalLayerNorm(handle, token))
    return wrapTensor(await this.#native.run(signal, work))
  }

  protected async run(
    ids: Tensor | TokenizerOutput,
    options: CLIPForwardOptions | undefined,
  ): Promise<CLIPTextModelOutput & { textEmbeds?: Tensor }> {
    this.assertRuns()
    const { attentionMask, outputHiddenStates = false, signal } = checkOptions('options', options)
    checkBoolean('outputHiddenStates', outputHiddenStates)
    const tensor: unknown = ids instanceof Tensor ? ids : (ids as { inputIds?: unknown } | undefined)?.inputIds
    if (!(tensor instanceof Tensor)) {
      throw expected('a Tensor of token ids or the output of a tokenizer', 'ids', ids)
    }
    if (tensor.shape.length !== 2 || (tensor.dtype !== 'i64' && tensor.dtype !== 'u32')) {
      throw expected('a Tensor of i64 or u32 token ids with shape [batch, length]', 'ids', tensor)
    }
    const handle = handleOf(tensor, 'ids')
    const mask = attentionMask === undefined ? undefined : handleOf(attentionMask, 'attentionMask')
    const output = await this.#native.run(signal, (clip) =>
      abortable(signal, (token) => clip.forward(handle, mask, outputHiddenStates, token)),
    )
    return {
      lastHiddenState: wrapTensor(output.lastHiddenState),
      poolerOutput: wrapTensor(output.poolerOutput),
      ...(outputHiddenStates ? { hiddenStates: output.hiddenStates.map(wrapTensor) } : {}),
      ...(output.textEmbeds === undefined ? {} : { textEmbeds: wrapTensor(output.textEmbeds) }),
    }
  }
}

/** CLIP's text encoder, as in SD 1.x, 2.x and the first encoder of SDXL. Source: transformers `CLIPTextModel`. */
export class CLIPTextModel extends TextEncoder {
  static readonly #network: Network<NativeClip, CLIPTextModel, Part> = {
    component: 'text_encoder',
    load: () => native.NativeClip.load,
    make: (handle, plan) => new CLIPTextModel(handle, plan),
  }

  /** Reads `config.json` and safetensors weights from a folder or built-in model. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<CLIPTextModel> {
    return networkOfFolder(CLIPTextModel.#network, dir, options)
  }

  /** Reads the text encoder of a single file, in transformers' or OpenCLIP's names. */
  static fromSingleFile(path: string, options?: SingleFileOptions): Promise<CLIPTextModel> {
    return networkOfFile(CLIPTextModel.#network, path, options)
  }

  /** Builds the model with random weights; keys that the config lacks take Python's defaults. See `UNet2DConditionModel.fromConfig`. */
  static fromConfig(config: Partial<CLIPTextConfig>, options?: FromConfigOptions): Promise<CLIPTextModel> {
    return randomNetwork(CLIPTextModel.#network, config, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<CLIPTextConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<CLIPTextModel> {
    return networkOfWeights(CLIPTextModel.#network, config, weights, options)
  }

  /** Encodes token ids (B, L) with L up to `max_position_embeddings`. */
  async forward(ids: Tensor | TokenizerOutput, options?: CLIPForwardOptions): Promise<CLIPTextModelOutput> {
    return this.run(ids, options)
  }

  protected override again(root: unknown, adapted?: unknown): this {
    return new CLIPTextModel(root, this, adapted) as this
  }
}

/** CLIP's text encoder with its projection, as SDXL's second encoder. Source: transformers `CLIPTextModelWithProjection`. */
export class CLIPTextModelWithProjection extends TextEncoder {
  static readonly #network: Network<NativeClip, CLIPTextModelWithProjection, Part> = {
    component: 'text_encoder_2',
    load: () => native.NativeClip.loadWithProjection,
    make: (handle, plan) => new CLIPTextModelWithProjection(handle, plan),
  }

  /** Reads `config.json` and safetensors weights from a folder or built-in model. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<CLIPTextModelWithProjection> {
    return networkOfFolder(CLIPTextModelWithProjection.#network, dir, options)
  }

  /** Reads the second text encoder of a single file, in OpenCLIP's or transformers' names. */
  static fromSingleFile(path: string, options?: SingleFileOptions): Promise<CLIPTextModelWithProjection> {
    return networkOfFile(CLIPTextModelWithProjection.#network, path, options)
  }

  /** Builds the model with random weights; keys that the config lacks take Python's defaults. See `UNet2DConditionModel.fromConfig`. */
  static fromConfig(config: Partial<CLIPTextConfig>, options?: FromConfigOptions): Promise<CLIPTextModelWithProjection> {
    return randomNetwork(CLIPTextModelWithProjection.#network, config, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<CLIPTextConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<CLIPTextModelWithProjection> {
    return networkOfWeights(CLIPTextModelWithProjection.#network, config, weights, options)
  }

  /** Encodes token ids (B, L) with L up to `max_position_embeddings`. */
  async forward(ids: Tensor | TokenizerOutput, options?: CLIPForwardOptions): Promise<CLIPTextModelWithProjectionOutput> {
    const { textEmbeds, ...output } = await this.run(ids, options)
    return { ...output, textEmbeds: textEmbeds ?? output.poolerOutput }
  }

  protected override again(root: unknown, adapted?: unknown): this {
    return new CLIPTextModelWithProjection(root, this, adapted) as this
  }
}
