import { mkdir, readdir, rename, rm, rmdir, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { abortable } from '../abort.ts'
import { checkInteger, checkOneOf, checkOptions, checkString } from '../checks.ts'
import { WeightsError } from '../errors.ts'
import { isFiles } from '../models/load.ts'
import { harmless } from '../models/source.ts'
import { type NativePiece, native } from '../native.ts'
import { handleOf, type Tensor } from '../tensor.ts'

/** Float types that weights are written in. */
export type SaveDType = 'f32' | 'f16' | 'bf16'

/** How far writing has come. */
export type SaveProgress = {
  /** Folder or file that is written. */
  component: string
  /** Bytes written so far, and in all. */
  written: number
  total: number
}

/** Options of `savePretrained` and `convertCheckpoint`. */
export type SavePretrainedOptions = {
  /** Type of all floats. @default each tensor's own in the file that it comes from, which keeps every bit */
  dtype?: SaveDType
  /** Bytes above which weights are split into several files with an index. @default 10_000_000_000 as diffusers */
  maxShardSize?: number
  /** Writes `name.<variant>.safetensors`, such as `fp16`. @default none */
  variant?: string
  /** Stops the work; nothing is left behind. */
  signal?: AbortSignal
  /** Hears of every tensor written. A listener that throws does not stop the work. */
  onProgress?: (event: SaveProgress) => void
}

const SHARD_BYTES = 10_000_000_000

/** Where weights come from: a file or folder, or tensors by name. */
export type WeightsPlace = {
  source: string | readonly string[] | Record<string, Tensor> | number
  part?: string
  variant?: string
}

/** Checks the options of saving. */
export function checkSaveOptions(options: SavePretrainedOptions | undefined): SavePretrainedOptions & { maxShardSize: number } {
  const given = checkOptions('options', options)
  if (given.dtype !== undefined) {
    checkOneOf('dtype', given.dtype, ['f32', 'f16', 'bf16'])
  }
  if (given.variant !== undefined) {
    checkString('variant', given.variant)
  }
  return { ...given, maxShardSize: checkInteger('maxShardSize', given.maxShardSize ?? SHARD_BYTES, { min: 1 }) }
}

/** A place as the native core takes it. */
export function pieceOf({ source, part, variant }: WeightsPlace): NativePiece {
  if (typeof source === 'number') {
    throw new WeightsError(
      'Expected weights of a file for savePretrained but received random ones, which fromConfig makes again from the seed',
    )
  }
  if (typeof source === 'string') {
    return { path: source, part, variant }
  }
  if (isFiles(source)) {
    const [path, ...beside] = source
    return { path, beside, part, variant }
  }
  const tensors = Object.entries(source).map(([name, tensor]) => handleOf(tensor, `weights[${JSON.stringify(name)}]`))
  return { names: Object.keys(source), tensors, part }
}

/** Writes one component's weights, or several as a single file, and returns the paths. */
export async function writeWeights(
  pieces: NativePiece[],
  to: { folder: string; basename: string; singleFile?: boolean; markers?: string[]; metadata?: Record<string, string>; component: string },
  { dtype, maxShardSize, variant, signal, onProgress }: SavePretrainedOptions,
): Promise<string[]> {
  const { component, ...place } = to
  const options = { singleFile: false, markers: [], metadata: {}, ...place, dtype, maxShardBytes: maxShardSize, variant }
  const heard = harmless(onProgress)
  const listener = heard && ((written: number, total: number) => heard({ component, written, total }))
  return abortable(signal, (token) => native.saveWeights(pieces, options, token, listener))
}

/** Writes an object as the JSON of a config. */
export async function writeJson(folder: string, name: string, value: object): Promise<void> {
  await writeFile(join(folder, name), `${JSON.stringify(value, undefined, 2)}\n`)
}

/**
 * Lets `write` fill a new folder beside `folder` and moves its files into place when all are complete; a failure leaves `folder` as it was.
 */
export async function intoFolder(folder: string, write: (folder: string) => Promise<void>): Promise<void> {
  const target = resolve(checkString('dir', folder))
  await mkdir(dirname(target), { recursive: true })
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}-${Date.now().toString(36)}.tmp`)
  await mkdir(temporary, { recursive: true })
  try {
    await write(temporary)
    await moveInto(temporary, target)
  } catch (error) {
    await rm(temporary, { recursive: true, force: true })
    throw error
  }
}

async function moveInto(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true })
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)]
    await (entry.isDirectory() ? moveInto(source, target) : rename(source, target))
  }
  await rmdir(from)
}

/** Classes whose files transformers names. */
const TRANSFORMERS = /^CLIP|Checker$/

/** Library that a class belongs to in `model_index.json`. */
export function libraryOf(className: string): 'diffusers' | 'transformers' {
  return TRANSFORMERS.test(className) ? 'transformers' : 'diffusers'
}

/** Writes `config.json` and weights of one component into a folder that exists. */
export async function writeComponent(
  folder: string,
  { className, config, place }: { className: string; config: object; place: WeightsPlace },
  options: SavePretrainedOptions,
): Promise<void> {
  const own = libraryOf(className) === 'transformers'
  await writeJson(folder, 'config.json', own ? { architectures: [className], ...config } : { _class_name: className, ...config })
  await writeWeights([pieceOf(place)], { folder, basename: own ? 'model' : 'diffusion_pytorch_model', component: folder }, options)
}
