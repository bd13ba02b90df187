import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { abortable } from '../abort.ts'
import { checkOneOf, checkString } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { checkPlan, type LoadOptions, type LoadPlan, readConfig } from '../models/load.ts'
import { native, packageRoot } from '../native.ts'
import type { SchedulerConfig } from '../schedulers/config.ts'
import { readSchedulerConfig } from '../schedulers/read-config.ts'

/** What a UNet was trained to predict. */
export type PredictionType = 'epsilon' | 'v_prediction' | 'sample'

/** A component that a single file can hold. */
export type Part = 'unet' | 'vae' | 'text_encoder' | 'text_encoder_2' | 'controlnet' | 'tiny_vae' | 'safety_checker'

/** Families of models whose configs ship with the package. */
export type CheckpointFamily = 'sd1' | 'sd2' | 'sdxl' | 'sdxl-refiner'

/** Options of every `fromSingleFile`. */
export type SingleFileOptions = Pick<LoadOptions, 'dtype' | 'device' | 'signal' | 'onProgress'> & {
  /** Folder with the configs of the model, as diffusers saves it. @default the configs of the family that the file's keys tell */
  config?: string
  /** What the UNet predicts. @default what the file's keys and texts tell, else what the config says */
  predictionType?: PredictionType
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
  options: Pick<SingleFileOptions, 'config' | 'predictionType' | 'signal'> = {},
): Promise<SingleFile> {
  const entry = await stat(checkString('path', path)).catch(() => undefined)
  if (!entry?.isFile()) {
    throw expected('an existing weights file', 'path', path)
  }
  const { config, predictionType, signal } = options
  if (predictionType !== undefined) {
    checkOneOf('predictionType', predictionType, ['epsilon', 'v_prediction', 'sample'])
  }
  const facts = JSON.parse(await abortable(signal, (token) => native.inspect(path, token))) as FileFacts
  if (config !== undefined) {
    const folder = await stat(checkString('config', config)).catch(() => undefined)
    if (!folder?.isDirectory()) {
      throw expected('an existing folder', 'config', config)
    }
  }
  return { path, facts, configs: config ?? shippedConfigs(path, facts), isOwnConfig: config !== undefined, predictionType }
}

function shippedConfigs(path: string, { kind, family, parts = [] }: FileFacts): string {
  if (parts.length === 0) {
    throw new ConfigError(`Expected a checkpoint or a component of a pipeline in ${path} but received ${kind}`)
  }
  if (parts.includes('tiny_vae')) {
    return join(CONFIGS, 'taesd')
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

/** Checks the arguments of a component's `fromSingleFile`, and completes its config by what the weights tell. */
export async function planSingleFile(
  path: string,
  options: SingleFileOptions | undefined,
  part: Part,
): Promise<{ plan: LoadPlan; config: Record<string, unknown> }> {
  const plan = checkPlan(options, part)
  return { plan: { ...plan, source: path, part }, config: await componentConfig(await openSingleFile(path, options), part) }
}

/** The config of a component of a single file. */
export async function componentConfig(file: SingleFile, part: Part): Promise<Record<string, unknown>> {
  const inside = join(file.configs, part)
  const folder = (await stat(join(inside, 'config.json')).catch(() => undefined)) ? inside : file.configs
  const config = await readConfig(folder)
  const { channels, prediction_type, task, noise_levels } = file.facts
  if (part === 'vae' && noise_levels === 'edm' && !file.isOwnConfig) {
    return { ...config, ...PLAYGROUND_LATENTS }
  }
  if (file.isOwnConfig || part !== 'unet' || !channels) {
    return config
  }
  const wide = file.facts.family === 'sd2' && prediction_type === 'v_prediction' && task === 'text-to-image'
  return { ...config, in_channels: channels[0], out_channels: channels[1], ...(wide ? { sample_size: 96 } : {}) }
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
