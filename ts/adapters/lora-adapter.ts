import { abortable } from '../abort.ts'
import { checkOptions } from '../checks.ts'
import { expected, guard } from '../errors.ts'
import { type NativeCancelToken, type NativeClip, type NativeLora, type NativeMotion, type NativeUnet, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import { type AdapterFileOptions, findAdapterFile } from './adapter-file.ts'
import type { AdapterWeight } from './adapter-weight.ts'
import type { LoraReport } from './lora-report.ts'

/** Where an adapter file is; `weightName` defaults to `pytorch_lora_weights`, `adapter_model` or `diffusion_pytorch_model`, in any format. */
export type LoraFileOptions = AdapterFileOptions

const FILE_NAMES = ['pytorch_lora_weights', 'adapter_model', 'diffusion_pytorch_model'].flatMap((name) => [
  `${name}.safetensors`,
  `${name}.bin`,
])

/** An adapter and how strongly it acts. */
export interface WeightedAdapter {
  adapter: LoraAdapter
  /** @default 1 */
  weight?: AdapterWeight
}

/** The models of a pipeline that an adapter may have layers of. */
export interface AdaptedModels {
  unet?: NativeUnet
  textEncoder?: NativeClip
  textEncoder2?: NativeClip
  motionAdapter?: NativeMotion
}

/** The native handle of an adapter; throws `InvalidArgumentError` for anything else. */
export let nativeLora: (adapter: unknown, name: string) => NativeLora

/** The textual inversions that came with an adapter: the tensors of each by their keys in a file of its own. */
export let bundledWith: (adapter: LoraAdapter) => Map<string, Record<string, Tensor>>

/** Matches an adapter with models, off the JavaScript thread. */
export let reportOn: (adapter: LoraAdapter, models: AdaptedModels, signal?: AbortSignal) => Promise<LoraReport>

/**
 * An opened adapter file: LoRA, LoCon, LoHa, LoKr, DoRA, IA3, GLoRA, OFT, BOFT or full differences, as kohya, LyCORIS, diffusers or PEFT write them.
 *
 * Only the header is read; the tensors stay in the file until a model is made with them.
 */
export class LoraAdapter {
  readonly #native: NativeLora
  /** The path that it was read from; undefined for tensors. */
  readonly source: string | undefined

  private constructor(handle: NativeLora, source: string | undefined) {
    this.#native = handle
    this.source = source
  }

  static {
    nativeLora = (adapter, name) => {
      if (!(typeof adapter === 'object' && adapter !== null && #native in adapter)) {
        throw expected('a LoraAdapter', name, adapter)
      }
      return adapter.#native
    }
    bundledWith = (adapter) => {
      const file = adapter.#native
      const tensorsOf = (name: string): Record<string, Tensor> => {
        const { names, tensors } = guard(() => file.bundled(name))
        return Object.fromEntries(tensors.map((tensor, i) => [names[i] ?? '', wrapTensor(tensor)]))
      }
      return new Map(file.bundledNames.map((name) => [name, tensorsOf(name)]))
    }
    reportOn = async (adapter, { unet, textEncoder, textEncoder2, motionAdapter }, signal) => {
      const work = (token: NativeCancelToken): Promise<string> =>
        adapter.#native.report(unet, textEncoder, textEncoder2, motionAdapter, token)
      return JSON.parse(await abortable(signal, work)) as LoraReport
    }
  }

  /** Opens a file, a folder with one, or tensors by their keys in a file. Throws `WeightsError` for a file that holds no adapter. */
  static async load(source: string | Readonly<Record<string, Tensor>>, options: LoraFileOptions = {}): Promise<LoraAdapter> {
    const given = checkOptions('options', options)
    if (typeof source === 'object' && source !== null && !Array.isArray(source)) {
      const handles = Object.entries(source).map(([key, tensor]) => handleOf(tensor, `source[${JSON.stringify(key)}]`))
      const handle = guard(() => native.NativeLora.fromTensors(Object.keys(source), handles))
      return new LoraAdapter(handle, undefined)
    }
    const path = await findAdapterFile(source as string, FILE_NAMES, given)
    return new LoraAdapter(await abortable(given.signal, (token) => native.NativeLora.open(path, token)), path)
  }
}
