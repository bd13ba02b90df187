import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { abortable } from '../abort.ts'
import { checkOptions, checkString } from '../checks.ts'
import { expected, guard } from '../errors.ts'
import { type NativeClip, type NativeLora, type NativeUnet, native } from '../native.ts'
import { handleOf, type Tensor } from '../tensor.ts'
import type { AdapterWeight } from './adapter-weight.ts'
import type { LoraReport } from './lora-report.ts'

/** Where an adapter file is. */
export interface LoraFileOptions {
  /** Name of the file inside the folder. @default 'pytorch_lora_weights' or 'adapter_model', in any format */
  weightName?: string
  /** Folder inside the folder. */
  subfolder?: string
  /** Stops the reading. */
  signal?: AbortSignal
}

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
}

/** The native handle of an adapter; throws `InvalidArgumentError` for anything else. */
export let nativeLora: (adapter: unknown, name: string) => NativeLora

/** Matches an adapter with models. */
export let reportOn: (adapter: LoraAdapter, models: AdaptedModels) => LoraReport

/**
 * An opened adapter file: LoRA, LoCon, LoHa, LoKr, DoRA, IA3 or full differences, as kohya, LyCORIS, diffusers or PEFT write them.
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
    reportOn = (adapter, { unet, textEncoder, textEncoder2 }) =>
      JSON.parse(guard(() => adapter.#native.report(unet, textEncoder, textEncoder2))) as LoraReport
  }

  /** Opens a file, a folder with one, or tensors by their keys in a file. Throws `WeightsError` for a file that holds no adapter. */
  static async load(source: string | Readonly<Record<string, Tensor>>, options: LoraFileOptions = {}): Promise<LoraAdapter> {
    const { weightName, subfolder, signal } = checkOptions('options', options)
    if (typeof source === 'object' && source !== null && !Array.isArray(source)) {
      const handles = Object.entries(source).map(([key, tensor]) => handleOf(tensor, `source[${JSON.stringify(key)}]`))
      const handle = guard(() => native.NativeLora.fromTensors(Object.keys(source), handles))
      return new LoraAdapter(handle, undefined)
    }
    const parts = Object.entries({ source, subfolder, weightName }).filter(([, part]) => part !== undefined)
    const path = join(...parts.map(([name, part]) => checkString(name, part)))
    if ((await stat(path).catch(() => undefined)) === undefined) {
      throw expected('an existing file or folder', 'source', path)
    }
    return new LoraAdapter(await abortable(signal, (token) => native.NativeLora.open(path, token)), path)
  }
}
