import { abortable } from '../abort.ts'
import { checkNumber, checkOptions } from '../checks.ts'
import { type NativePriorTransformer, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import type { FromConfigOptions, FromWeightsOptions, LoadOptions, LoadPlan } from './load.ts'
import { Model } from './model.ts'
import { type Network, networkOfFolder, networkOfWeights, randomNetwork } from './network.ts'

/** Keys of a prior's `config.json` (diffusers `PriorTransformer`), completed with their defaults. */
export type PriorTransformerConfig = {
  readonly num_attention_heads: number
  readonly attention_head_dim: number
  readonly num_layers: number
  /** Width of text states and image embeddings. */
  readonly embedding_dim: number
  /** Tokens of the text. */
  readonly num_embeddings: number
  readonly [key: string]: unknown
}

/** What a prior is told beside the noisy image embeddings. */
export type PriorForwardOptions = {
  /** Projected text embeddings (B, embedding_dim). */
  projEmbedding: Tensor
  /** Text states (B, num_embeddings, embedding_dim). */
  encoderHiddenStates: Tensor
  /** 1 for text, 0 for padding (B, num_embeddings); with it a token sees only those before it. @default every token sees every other */
  attentionMask?: Tensor
  /** Stops the work. */
  signal?: AbortSignal
}

/** From text to an image embedding, in Kandinsky and other unCLIP models. Source: diffusers `PriorTransformer`; arXiv:2204.06125. */
export class PriorTransformer extends Model {
  static readonly #network: Network<NativePriorTransformer, PriorTransformer> = {
    component: 'prior',
    load: () => native.NativePriorTransformer.load,
    make: (handle, plan) => new PriorTransformer(handle, plan),
  }
  /** The config, completed with defaults. */
  readonly config: PriorTransformerConfig
  readonly #native: NativePriorTransformer

  private constructor(handle: NativePriorTransformer, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(JSON.parse(handle.config) as PriorTransformerConfig)
  }

  /** Reads `config.json` and safetensors weights from a folder. */
  static fromPretrained(dir: string, options?: LoadOptions): Promise<PriorTransformer> {
    return networkOfFolder(PriorTransformer.#network, dir, options)
  }

  /** Builds the model with random weights; keys that the config lacks take Python's defaults. See `UNet2DConditionModel.fromConfig`. */
  static fromConfig(config: Partial<PriorTransformerConfig>, options?: FromConfigOptions): Promise<PriorTransformer> {
    return randomNetwork(PriorTransformer.#network, config, options)
  }

  /** Builds the model from tensors by checkpoint key; keys that the config lacks take Python's defaults. */
  static fromWeights(
    config: Partial<PriorTransformerConfig>,
    weights: Record<string, Tensor>,
    options?: FromWeightsOptions,
  ): Promise<PriorTransformer> {
    return networkOfWeights(PriorTransformer.#network, config, weights, options)
  }

  /** Evaluates the network once: noisy embeddings (B, embedding_dim) -> predicted clean ones (B, embedding_dim), normalised. */
  async forward(hiddenStates: Tensor, timestep: number, options: PriorForwardOptions): Promise<{ predictedImageEmbedding: Tensor }> {
    this.assertUsable()
    const { projEmbedding, encoderHiddenStates, attentionMask, signal } = checkOptions('options', options)
    const input = {
      hiddenStates: handleOf(hiddenStates, 'hiddenStates'),
      timestep: checkNumber('timestep', timestep),
      projEmbedding: handleOf(projEmbedding, 'projEmbedding'),
      encoderHiddenStates: handleOf(encoderHiddenStates, 'encoderHiddenStates'),
      attentionMask: attentionMask && handleOf(attentionMask, 'attentionMask'),
    }
    return { predictedImageEmbedding: wrapTensor(await abortable(signal, (token) => this.#native.forward(input, token))) }
  }

  /** Predicted embeddings (B, embedding_dim) as CLIP's image encoder gives them. Source: diffusers `post_process_latents`. */
  async postProcessLatents(priorLatents: Tensor, { signal }: { signal?: AbortSignal } = {}): Promise<Tensor> {
    this.assertUsable()
    const handle = handleOf(priorLatents, 'priorLatents')
    return wrapTensor(await abortable(signal, (token) => this.#native.postProcess(handle, token)))
  }
}
