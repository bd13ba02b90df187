import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { abortable } from '../abort.ts'
import { checkBoolean, checkOneOf, checkString } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { checkPlan, type LoadOptions, type LoadPlan, readConfig } from '../models/load.ts'
import { native, packageRoot } from '../native.ts'
import type { SchedulerConfig } from '../schedulers/config.ts'
import { readSchedulerConfig } from '../schedulers/read-config.ts'

/** What a UNet was trained to predict. */
export type PredictionType = 'epsilon' | 'v_prediction' | 'sample'

/** A component that a single file can hold. */
export type Part =
  | 'unet'
  | 'unet_ema'
  | 'vae'
  | 'text_encoder'
  | 'text_encoder_2'
  | 'controlnet'
  | 'tiny_vae'
  | 'safety_checker'
  | 'motion_adapter'

/** Families of models whose configs ship with the package. */
export type CheckpointFamily = 'sd1' | 'sd2' | 'sdxl' | 'sdxl-refiner'

/** Options of every `fromSingleFile`. */
export type SingleFileOptions = Pick<LoadOptions, 'dtype' | 'device' | 'loading' | 'signal' | 'onProgress'> & {
  /** Folder with the configs of the model, as diffusers saves it. @default the configs of the family that the file's keys tell */
  config?: string
  /** What the UNet predicts. @default what the file's keys and texts tell, else what the config says */
  predictionType?: PredictionType
  /** Takes the UNet's weights averaged over the training (`model_ema.`), which old checkpoints keep beside the last ones. @default false */
  extractEma?: boolean
}

/** What the native core tells of a weights file. */
export type FileFacts = {
  kind: string
  family?: CheckpointFamily | null
  parts?: Part[]
  layout?: string
  task?: string | null
  prediction_type?: PredictionType | null
  zero_terminal_snr?: boolean
  noise_levels?: 'edm' | 'edm_vpred' | null
  channels?: [inputs: number, outputs: number] | null
  /** Which of its two networks a file of a tiny autoencoder holds. */
  halves?: ('encoder' | 'decoder')[]
  /** What the shapes of a part's weights tell of its config. */
  configs?: Partial<Record<Part, Record<string, unknown>>>
  /** Numbers of tensors that a folder has no place for, by what they are. */
  left_out?: Record<string, number>
  metadata?: Record<string, string>
}

/** A weights file that was looked at, and where its configs are. */
export type SingleFile = {
  path: string
  facts: FileFacts
  /** Folder with a config for each component. */
  configs: string
  /** Whether the caller chose that folder, which then is right about everything. */
  isOwnConfig: boolean
  predictionType: PredictionType | undefined
  /** Whether the UNet is the averaged one. */
  extractEma: boolean
}

const CONFIGS = join(packageRoot, 'models', 'configs')
/** Folder with the vocabulary that every CLIP tokenizer shares. */
export const clipVocabulary: string = join(CONFIGS, 'clip')

/** How Playground 2.5 scales its latents. Source: playgroundai/playground-v2.5-1024px-aesthetic vae/config.json. */
const PLAYGROUND_LATENTS = {
  latents_mean: [-1.6574, 1.886, -1.383, 2.5155],
  latents_std: [8.4927, 5.9022, 6.5498, 5.2299],
  scaling_factor: 0.5,
}

/** Looks at a file's header and chooses its configs. Throws `WeightsError`, or `ConfigError` if no family that ships with the package fits. */
export async function openSingleFile(
  path: string,
  options: Pick<SingleFileOptions, 'config' | 'predictionType' | 'extractEma' | 'signal'> = {},
): Promise<SingleFile> {
  const entry = await stat(checkString('path', path)).catch(() => undefined)
  if (!entry?.isFile()) {
    throw expected('an existing weights file', 'path', path)
  }
  const { config, predictionType, extractEma = false, signal } = options
  if (predictionType !== undefined) {
    checkOneOf('predictionType', predictionType, ['epsilon', 'v_prediction', 'sample'])
  }
  checkBoolean('extractEma', extractEma)
  const facts = JSON.parse(await abortable(signal, (token) => native.inspect(path, token))) as FileFacts
  if (config !== undefined) {
    const folder = await stat(checkString('config', config)).catch(() => undefined)
    if (!folder?.isDirectory()) {
      throw expected('an existing folder', 'config', config)
    }
  }
  const configs = config ?? shippedConfigs(path, facts)
  return { path, facts, configs, isOwnConfig: config !== undefined, predictionType, extractEma }
}

/** What loads files that are no part of a pipeline, by their kind. */
const PLACES: Readonly<Record<string, string>> = {
  lora: 'pipe.loadLoraWeights()',
  'textual-inversion': 'pipe.loadTextualInversion()',
  'ip-adapter': 'pipe.loadIpAdapter()',
  't2i-adapter': 'T2IAdapter.fromPretrained()',
  'image-encoder': 'CLIPVisionModelWithProjection.fromPretrained()',
}

function shippedConfigs(path: string, { kind, family, parts = [] }: FileFacts): string {
  if (parts.length === 0) {
    const place = PLACES[kind]
    const hint = place === undefined ? '' : `, which ${place} takes`
    throw new ConfigError(`Expected a checkpoint or a component of a pipeline in ${path} but received ${kind}${hint}`)
  }
  if (parts.includes('tiny_vae')) {
    return join(CONFIGS, 'taesd')
  }
  if (parts.includes('motion_adapter') && !parts.includes('unet')) {
    return join(CONFIGS, 'motion_adapter')
  }
  if (family === null || family === undefined) {
    if (parts.includes('vae')) {
      return join(CONFIGS, 'sd1')
    }
    throw new ConfigError(
      `Expected a family whose configs ship with the package for ${path} but its ${kind} has the width of none: give the folder of its configs as config`,
    )
  }
  return join(CONFIGS, family)
}

/** A component of a single file that is ready to load. */
export type PlannedFile = { plan: LoadPlan; config: Record<string, unknown>; facts: FileFacts }

/** Checks the arguments of a component's `fromSingleFile`, and completes its config by what the weights tell. */
export async function planSingleFile(path: string, options: SingleFileOptions | undefined, part: Part): Promise<PlannedFile> {
  const plan = checkPlan(options, part)
  const file = await openSingleFile(path, options)
  const own = file.extractEma && part === 'unet' ? 'unet_ema' : part
  return { plan: { ...plan, source: path, from: path, part: own }, config: await componentConfig(file, part), facts: file.facts }
}

/** The config of a component of a single file. */
export async function componentConfig(file: SingleFile, part: Part): Promise<Record<string, unknown>> {
  const inside = join(file.configs, part)
  const folder = (await stat(join(inside, 'config.json')).catch(() => undefined)) ? inside : file.configs
  const config = await readConfig(folder)
  const { channels, prediction_type, task, noise_levels, configs } = file.facts
  if (part === 'vae' && noise_levels === 'edm' && !file.isOwnConfig) {
    return { ...config, ...PLAYGROUND_LATENTS }
  }
  if (file.isOwnConfig) {
    return config
  }
  const wide = part === 'unet' && file.facts.family === 'sd2' && prediction_type === 'v_prediction' && task === 'text-to-image'
  const told = { ...(part === 'unet' && channels && { in_channels: channels[0], out_channels: channels[1] }), ...configs?.[part] }
  checkWidths(file.path, config, told)
  return { ...config, ...told, ...(wide ? { sample_size: 96 } : {}) }
}

/** Throws `ConfigError` for widths that no published network of the family has: nothing tells their heads then. */
function checkWidths(path: string, family: Record<string, unknown>, told: Record<string, unknown>): void {
  const [known, found] = [family.block_out_channels, told.block_out_channels]
  if (Array.isArray(known) && Array.isArray(found) && !found.every((width) => known.includes(width))) {
    throw new ConfigError(
      `Expected block_out_channels of ${[...new Set(known)].join(', ')} in ${path} but received ${found.join(', ')}: give the folder of its configs as config`,
    )
  }
}

/** The config of the scheduler that a single file needs: the family's, with the prediction and noise levels that the weights ask for. */
export async function schedulerConfig(file: SingleFile): Promise<SchedulerConfig> {
  const base = await readSchedulerConfig(file.configs, { subfolder: 'scheduler' })
  const { prediction_type, zero_terminal_snr, noise_levels } = file.facts
  const prediction = file.predictionType ?? (file.isOwnConfig ? undefined : prediction_type)
  if (noise_levels && !file.isOwnConfig) {
    return edmConfig(noise_levels, prediction ?? 'epsilon')
  }
  const config = prediction ? { ...base, prediction_type: prediction } : base
  return zero_terminal_snr && !file.isOwnConfig ? { ...config, rescale_betas_zero_snr: true, timestep_spacing: 'trailing' } : config
}

/** Playground 2.5 and models like CosXL are trained on noise levels instead of timesteps. Source: their scheduler configs; ComfyUI model_base.py. */
function edmConfig(levels: 'edm' | 'edm_vpred', prediction: PredictionType): SchedulerConfig {
  const sigmas = levels === 'edm' ? { sigma_min: 0.002, sigma_max: 80 } : { sigma_min: 0.002, sigma_max: 120 }
  return { _class_name: 'EDMEulerScheduler', ...sigmas, sigma_data: levels === 'edm' ? 0.5 : 1, prediction_type: prediction }
}
