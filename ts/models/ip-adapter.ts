import { abortable } from '../abort.ts'
import { findAdapterFile } from '../adapters/adapter-file.ts'
import { checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { type NativeIpAdapter, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import { checkPlan, type FromWeightsOptions, type LoadOptions, type LoadPlan, loadNative, planWeights } from './load.ts'
import { Model } from './model.ts'

/** What an IP-Adapter's weights say of it; the published files have no config. */
export type IPAdapterConfig = {
  /** `plain` reads image embeddings, `plus` and `full` (full-face) the encoder's hidden states. */
  readonly kind: 'plain' | 'plus' | 'full'
  /** Width of the embeddings or hidden states that `project` takes. */
  readonly image_width: number
  /** Width of the tokens, which is the UNet's `cross_attention_dim`. */
  readonly context_width: number
  /** Cross-attention layers that it has keys and values for. */
  readonly layers: number
}

/** Options of `IPAdapter.fromPretrained`. */
export type IPAdapterLoadOptions = Omit<LoadOptions, 'variant'> & {
  /** File of the folder, such as `ip-adapter_sd15.safetensors`. @default the folder's only weights */
  weightName?: string
}

const handles = new WeakMap<IPAdapter, NativeIpAdapter>()

/** Lets a UNet read images as part of its prompt. Immutable. Source: diffusers `IPAdapterAttnProcessor2_0`; arXiv:2308.06721. */
export class IPAdapter extends Model {
  /** Kind and sizes, found from the weights. */
  readonly config: IPAdapterConfig
  readonly #native: NativeIpAdapter

  private constructor(handle: NativeIpAdapter, plan: LoadPlan) {
    super(plan, () => handle.dispose(), handle)
    this.#native = handle
    handles.set(this, handle)
    this.config = Object.freeze(JSON.parse(handle.config) as IPAdapterConfig)
  }

  /** Reads a published adapter from a file, a folder or the hub: plain, Plus or full-face, for SD 1.x or SDXL; its weights tell which. */
  static async fromPretrained(dir: string, options: IPAdapterLoadOptions = {}): Promise<IPAdapter> {
    const checked = checkPlan(options, 'ip_adapter')
    const source = await findAdapterFile(dir, [], options)
    const plan = { ...checked, source, from: source }
    return new IPAdapter(await loadNative(plan, {}, native.NativeIpAdapter.load), plan)
  }

  /** Builds the adapter from tensors by checkpoint key. */
  static async fromWeights(weights: Record<string, Tensor>, options?: FromWeightsOptions): Promise<IPAdapter> {
    const plan = planWeights(weights, options, 'ip_adapter')
    return new IPAdapter(await loadNative(plan, {}, native.NativeIpAdapter.load), plan)
  }

  /** Embeddings of N images, (B, N, image_width), for Plus and full-face hidden states (B, N, S, image_width) -> tokens (B, N, T, context_width). */
  async project(imageEmbeds: Tensor, options?: { signal?: AbortSignal }): Promise<Tensor> {
    this.assertUsable()
    const handle = handleOf(imageEmbeds, 'imageEmbeds')
    return wrapTensor(await abortable(checkOptions('options', options).signal, (token) => this.#native.project(handle, token)))
  }
}

/** The native side of an adapter; throws `InvalidArgumentError` for anything else. */
export function ipAdapterHandle(adapter: unknown, name: string): NativeIpAdapter {
  const handle = adapter instanceof IPAdapter ? handles.get(adapter) : undefined
  if (handle === undefined) {
    throw expected('an IPAdapter', name, adapter)
  }
  return handle
}
