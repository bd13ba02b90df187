import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { abortable, checkSignal, throwIfAborted } from '../abort.ts'
import { checkInteger, checkOneOf, checkOptions, checkString } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import type { HubOptions } from '../hub/settings.ts'
import type { NativeCancelToken, NativeLoadOptions } from '../native.ts'
import { handleOf, type Tensor } from '../tensor.ts'
import { checkDevice } from '../tensor-checks.ts'
import { fastestDType } from './fastest-dtype.ts'
import type { ModelDevice, WeightsDType } from './model.ts'
import { harmless, openSource } from './source.ts'

/** How far a download from the hub, or the loading of one component, has come. */
export type LoadProgress = {
  phase: 'download' | 'load'
  /** Name of the component, such as `unet`; while downloading the path of the file. */
  component: string
  /** Bytes so far: of the component's weights, or of all files that are downloaded. */
  loaded: number
  /** Bytes in all. */
  total: number
}

/** Options of every `fromPretrained`. */
export type LoadOptions = HubOptions & {
  /** Folder inside `dir`, such as `unet`. @default `dir` itself */
  subfolder?: string
  /** Reads `name.<variant>.safetensors`, such as `fp16`. @default files without a variant */
  variant?: string
  /** Type that the weights are kept in; `auto` takes the fastest of them that keeps pictures within 30 dB of PSNR of those in f32. @default 'f32' */
  dtype?: WeightsDType | 'auto'
  /** `meta` reads headers alone: such a model can be asked for its memory, and for nothing else. @default 'cpu' */
  device?: ModelDevice
  /** `lazy` reads the weights of a file when a call first needs them; until then its headers alone are read and checked. @default 'eager' */
  loading?: 'eager' | 'lazy'
  /** Stops the loading. */
  signal?: AbortSignal
  /** Hears of every part read. A listener that throws does not stop the loading. */
  onProgress?: (event: LoadProgress) => void
}

/** Options of every `fromWeights`. */
export type FromWeightsOptions = Pick<LoadOptions, 'dtype' | 'device' | 'signal' | 'onProgress'>

/** Options of every `fromConfig`. */
export type FromConfigOptions = FromWeightsOptions & {
  /** Seed of the random weights, 0 to 2^53 - 1; the same seed gives the same weights everywhere. @default 0 */
  seed?: number
}

/** A component's place and numbers, checked. */
export type LoadPlan = {
  /** Folder of the component, tensors by checkpoint key, or the seed of random weights. */
  source: string | readonly string[] | Record<string, Tensor> | number
  /** The folder, file or repository that was asked for. */
  from?: string
  /** Which component of a single file it is; the names of a diffusers folder if left out. */
  part?: string
  component: string
  /** For `auto`, f16 until `loadNative` has seen the config. */
  dtype: WeightsDType
  device: ModelDevice
  options: LoadOptions
}

const LOADINGS = ['eager', 'lazy'] as const

const WEIGHTS_DTYPES = ['f32', 'f16', 'bf16', 'int8', 'fast', 'auto'] as const

/** Checks the options of a `fromPretrained` and finds the component's folder. */
export async function planLoad(dir: string, options: LoadOptions | undefined, component: string): Promise<LoadPlan & { source: string }> {
  const plan = checkPlan(options, component)
  const { subfolder, variant } = plan.options
  const place = await openSource(dir, plan.options)
  const root = await place.fetch({ folders: [checkString('subfolder', subfolder ?? '')], variant })
  const source = subfolder === undefined ? root : join(root, checkString('subfolder', subfolder))
  const entry = await stat(source).catch(() => undefined)
  if (!entry?.isDirectory()) {
    throw expected(`a folder inside ${JSON.stringify(root)}`, 'subfolder', subfolder)
  }
  return { ...plan, source, from: subfolder === undefined ? dir : join(dir, subfolder), component: subfolder ?? component }
}

/** Checks the arguments of a `fromWeights`. */
export function planWeights(weights: Record<string, Tensor>, options: FromWeightsOptions | undefined, component: string): LoadPlan {
  if (typeof weights !== 'object' || weights === null || Array.isArray(weights)) {
    throw expected('an object of Tensors by checkpoint key', 'weights', weights)
  }
  return { ...checkPlan(options, component), source: weights }
}

/** Checks the arguments of a `fromConfig`. */
export function planRandom(options: FromConfigOptions | undefined, component: string): LoadPlan {
  return { ...checkPlan(options, component), source: checkInteger('seed', options?.seed ?? 0, { min: 0 }) }
}

/** Checks what every way of loading takes. */
export function checkPlan(options: LoadOptions | undefined, component: string): Omit<LoadPlan, 'source'> {
  const given = checkOptions('options', options)
  checkSignal(given.signal)
  throwIfAborted(given.signal)
  if (given.onProgress !== undefined && typeof given.onProgress !== 'function') {
    throw expected('a function', 'onProgress', given.onProgress)
  }
  if (given.variant !== undefined) {
    checkString('variant', given.variant)
  }
  const dtype = checkOneOf('dtype', given.dtype ?? 'f32', WEIGHTS_DTYPES)
  checkOneOf('loading', given.loading ?? 'eager', LOADINGS)
  const device = given.device === 'meta' ? given.device : checkDevice(given.device ?? 'cpu')
  return { component, dtype: dtype === 'auto' ? 'f16' : dtype, device, options: given }
}

/** Reads a component's `config.json` (or another JSON object) from its folder. */
export async function readConfig(folder: string, name = 'config.json'): Promise<Record<string, unknown>> {
  const path = join(folder, name)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new ConfigError(`Expected a file ${path} but it could not be read`, { cause })
  })
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (cause) {
    throw new ConfigError(`Expected JSON in ${path} but received text that does not parse: ${(cause as Error).message}`, { cause })
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw new ConfigError(`Expected a JSON object in ${path} but received ${Array.isArray(parsed) ? 'an array' : String(parsed)}`)
  }
  return parsed as Record<string, unknown>
}

/** The loader of a native class. */
export type NativeLoad<T> = (
  options: NativeLoadOptions,
  token: NativeCancelToken,
  onProgress: ((loaded: number, total: number) => void) | undefined,
) => Promise<T>

/**
 * Runs a native load with the plan's numbers, progress and signal; warns about what the file has and the model does not know, except for weights
 * `elsewhere`, which belong to another model in the same file.
 */
export async function loadNative<T extends { unknownKeys: string[]; unexpectedWeights: string[] }>(
  plan: LoadPlan,
  config: object,
  load: NativeLoad<T>,
  elsewhere?: RegExp,
): Promise<T> {
  const { onProgress, signal, variant, loading } = plan.options
  if (plan.options.dtype === 'auto') {
    plan.dtype = fastestDType(config, plan.device)
  }
  const report = onProgress && reporter(plan.component, onProgress)
  const numbers = {
    config: JSON.stringify(config),
    variant,
    part: plan.part,
    dtype: plan.dtype,
    device: plan.device,
    lazy: loading === 'lazy',
  }
  const options = { ...numbers, ...weightsOf(plan.source) }
  const handle = await abortable(signal, (token) => load(options, token, report?.onProgress))
  report?.finish()
  warnOnce(plan.component, 'config keys that are not known and have no effect', handle.unknownKeys)
  const unexpected = handle.unexpectedWeights.filter((name) => !elsewhere?.test(name))
  warnOnce(plan.component, 'weights that the model has no place for', unexpected)
  return handle
}

function weightsOf(source: LoadPlan['source']): Pick<NativeLoadOptions, 'path' | 'beside' | 'seed' | 'names' | 'tensors'> {
  if (typeof source === 'string') {
    return { path: source }
  }
  if (isFiles(source)) {
    const [path, ...beside] = source
    return { path, beside }
  }
  if (typeof source === 'number') {
    return { seed: source }
  }
  const tensors = Object.entries(source).map(([name, tensor]) => handleOf(tensor, `weights[${JSON.stringify(name)}]`))
  return { names: Object.keys(source), tensors }
}

/** Whether weights come from several files. */
export function isFiles(source: LoadPlan['source']): source is readonly string[] {
  return Array.isArray(source)
}

const toldNames = new Set<string>()

function warnOnce(component: string, what: string, names: readonly string[]): void {
  const fresh = names.filter((name) => !toldNames.has(`${component}.${name}`))
  for (const name of fresh) {
    toldNames.add(`${component}.${name}`)
  }
  if (fresh.length > 0) {
    const more = fresh.length > 5 ? ` and ${fresh.length - 5} more` : ''
    process.emitWarning(`${component}: ${what}: ${fresh.slice(0, 5).join(', ')}${more}`, 'NodeDiffusionWarning')
  }
}

function reporter(
  component: string,
  listener: (event: LoadProgress) => void,
): { onProgress: (loaded: number, total: number) => void; finish: () => void } {
  let last: LoadProgress = { phase: 'load', component, loaded: 0, total: 0 }
  let done = false
  const heard = harmless(listener)
  const tell = (event: LoadProgress): void => {
    last = event
    heard?.(event)
  }
  return {
    onProgress: (loaded, total) => {
      if (!done) {
        tell({ ...last, loaded, total })
      }
    },
    finish: () => {
      done = true
      if (last.loaded < last.total) {
        tell({ ...last, loaded: last.total })
      }
    },
  }
}
