import { copyFile, mkdir, readdir, stat } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { checkString } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { readConfig } from '../models/load.ts'
import { localFolder } from '../models/source.ts'
import type { NativePiece } from '../native.ts'
import { readSchedulerConfig } from '../schedulers/read-config.ts'
import { checkSaveOptions, intoFolder, libraryOf, type SavePretrainedOptions, writeJson, writeWeights } from './save.ts'
import { componentConfig, openSingleFile, type Part, type SingleFile, schedulerConfig } from './single-file.ts'

/** Options of `convertCheckpoint`. */
export type ConvertOptions = SavePretrainedOptions & {
  /** Folder with the configs of a single file, as diffusers saves it. @default the configs of the family that the file's keys tell */
  config?: string
  /** Takes the UNet's averaged weights (`model_ema.`) of a single file. @default false */
  extractEma?: boolean
}

/** What a conversion did. */
export type ConvertReport = {
  /** Numbers of tensors of a single file that the folder has no place for, by what they are; they are not written. */
  leftOut: Readonly<Record<string, number>>
}

/** Components of a pipeline folder that a single file has a place for. */
const PARTS: readonly Part[] = ['unet', 'vae', 'text_encoder', 'text_encoder_2', 'controlnet']

/** What the native core calls averaged weights that were not asked for. */
const AVERAGES = 'averaged weights (EMA)'

/** Part of a lone component's folder, by the class that its config names. */
const PART_OF_CLASS: Readonly<Record<string, Part>> = {
  UNet2DConditionModel: 'unet',
  AutoencoderKL: 'vae',
  CLIPTextModel: 'text_encoder',
  CLIPTextModelWithProjection: 'text_encoder_2',
  ControlNetModel: 'controlnet',
}

/** A class whose lone files have the names of its folder. */
const TINY = 'AutoencoderTiny'

/**
 * Converts between a diffusers folder and a single file of LDM's or SGM's names, either of a pipeline or of one component: an `output` that ends in
 * `.safetensors` is a file, anything else a folder. Input is a folder, or a file of any readable format. Without `dtype` every bit is kept.
 * Weights are read one tensor at a time and no model is built. Returns what of a file a folder has no place for. Throws `WeightsError`, `ConfigError` or `InvalidArgumentError`.
 */
export async function convertCheckpoint(input: string, output: string, options?: ConvertOptions): Promise<ConvertReport> {
  const given = { ...checkSaveOptions(options), config: options?.config, extractEma: options?.extractEma }
  checkString('output', output)
  const folder = await localFolder(input)
  const toFile = output.endsWith('.safetensors')
  if (folder === undefined) {
    const entry = await stat(input).catch(() => undefined)
    if (entry === undefined) {
      throw expected('an existing file or folder', 'input', input)
    }
    if (toFile) {
      await fileToFile(input, output, given)
      return { leftOut: {} }
    }
    const file = await openSingleFile(input, given)
    await fileToFolder(file, output, given)
    const { [AVERAGES]: averages = 0, ...leftOut } = file.facts.left_out ?? {}
    return { leftOut: averages > 0 && !file.extractEma ? { ...leftOut, [AVERAGES]: averages } : leftOut }
  }
  await (toFile ? folderToFile(folder, output, given) : folderToFolder(folder, output, given))
  return { leftOut: {} }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined
}

/** Keeps the names, and all tensors: pickle, GGUF or another dtype to safetensors. */
async function fileToFile(input: string, output: string, options: SavePretrainedOptions): Promise<void> {
  await writeFile([{ path: input }], output, options, { singleFile: false })
}

async function writeFile(
  pieces: NativePiece[],
  output: string,
  options: SavePretrainedOptions,
  layout: { singleFile: boolean; markers?: string[] },
): Promise<void> {
  const target = resolve(output)
  await mkdir(dirname(target), { recursive: true })
  const whole = { ...options, maxShardSize: undefined, variant: undefined }
  const to = { folder: dirname(target), basename: basename(target, '.safetensors'), component: output, ...layout }
  await writeWeights(pieces, to, whole)
}

async function fileToFolder(file: SingleFile, output: string, options: SavePretrainedOptions): Promise<void> {
  const parts: readonly Part[] = (file.facts.parts ?? []).filter((part) => part !== 'unet_ema')
  const [only] = parts
  if (parts.length === 1 && only !== undefined) {
    return intoFolder(output, (folder) => component(file, only, folder, options))
  }
  const index = await readConfig(file.configs, 'model_index.json')
  await intoFolder(output, async (folder) => {
    for (const [name, entry] of Object.entries(index)) {
      const target = join(folder, name)
      if (!Array.isArray(entry) || typeof entry[1] !== 'string') {
        continue
      }
      const part = PARTS.find((part) => part === name)
      if (part !== undefined && parts.includes(part)) {
        await mkdir(target)
        await component(file, part, target, options)
      } else if (name === 'scheduler') {
        await mkdir(target)
        const config = await schedulerConfig(file)
        index[name] = ['diffusers', config._class_name]
        await writeJson(target, 'scheduler_config.json', config)
      } else if (name.startsWith('tokenizer')) {
        const tokenizer = await CLIPTokenizer.ofSingleFile(file, name, options)
        await tokenizer.savePretrained(target)
      } else {
        index[name] = [null, null]
      }
    }
    await writeJson(folder, 'model_index.json', index)
  })
}

async function component(file: SingleFile, part: Part, folder: string, options: SavePretrainedOptions): Promise<void> {
  const config = await componentConfig(file, part)
  const isText = part === 'text_encoder' || part === 'text_encoder_2'
  await writeJson(folder, 'config.json', config)
  const to = { folder, basename: isText ? 'model' : 'diffusion_pytorch_model', component: part }
  const own = part === 'unet' && file.extractEma ? 'unet_ema' : part
  await writeWeights([{ part: own, path: file.path }], to, options)
}

async function folderToFile(folder: string, output: string, options: SavePretrainedOptions): Promise<void> {
  if (!(await exists(join(folder, 'model_index.json')))) {
    const { _class_name, architectures } = await readConfig(folder)
    const name: unknown = _class_name ?? (Array.isArray(architectures) ? architectures[0] : undefined)
    const part = PART_OF_CLASS[String(name)]
    if (name === TINY) {
      return writeFile([{ path: folder, variant: options.variant }], output, options, { singleFile: false })
    }
    if (part === undefined) {
      throw new ConfigError(
        `Expected one of ${[...Object.keys(PART_OF_CLASS), TINY].join(', ')} for _class_name in config.json but received ${String(name)}`,
      )
    }
    return writeFile([{ part, path: folder, variant: options.variant }], output, options, { singleFile: true })
  }
  const present = await Promise.all(PARTS.map(async (part) => ((await exists(join(folder, part, 'config.json'))) ? [part] : [])))
  const pieces = present.flat().map((part) => ({ part, path: join(folder, part) }))
  await writeFile(pieces, output, options, { singleFile: true, markers: await markersOf(folder) })
}

/** Empty tensors that say of a file what a folder's scheduler says; where the keys of the family tell already there are none. */
async function markersOf(folder: string): Promise<string[]> {
  const config = await readSchedulerConfig(folder, { subfolder: 'scheduler' }).catch(() => undefined)
  if (config?.prediction_type !== 'v_prediction') {
    return []
  }
  return config.rescale_betas_zero_snr === true ? ['v_pred', 'ztsnr'] : ['v_pred']
}

/** Endings of weights, and of what other programs keep beside them. */
const WEIGHTS = /\.(safetensors|bin|ckpt|pt|pth|msgpack|onnx|pb|h5)$|\.index(\.[^.]+)?\.json$/

async function folderToFolder(folder: string, output: string, options: SavePretrainedOptions): Promise<void> {
  await intoFolder(output, (target) => copyFolder(folder, target, options))
}

/** Copies configs as they are and writes weights anew. */
async function copyFolder(from: string, to: string, options: SavePretrainedOptions): Promise<void> {
  await mkdir(to, { recursive: true })
  const entries = (await readdir(from, { withFileTypes: true })).filter(({ name }) => !name.startsWith('.'))
  for (const entry of entries) {
    if (entry.isDirectory()) {
      await copyFolder(join(from, entry.name), join(to, entry.name), options)
    } else if (!WEIGHTS.test(entry.name)) {
      await copyFile(join(from, entry.name), join(to, entry.name))
    }
  }
  if (entries.some(({ name }) => /\.(safetensors|bin)$/.test(name))) {
    const { _class_name } = await readConfig(from)
    const basename = libraryOf(String(_class_name ?? 'CLIP')) === 'transformers' ? 'model' : 'diffusion_pytorch_model'
    await writeWeights([{ path: from }], { folder: to, basename, component: from }, options)
  }
}
