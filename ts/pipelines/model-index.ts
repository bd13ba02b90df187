import { performance } from 'node:perf_hooks'
import { checkSignal } from '../abort.ts'
import { checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { readConfig } from '../models/load.ts'
import { type ModelSource, openSource } from '../models/source.ts'
import type { DownloadOptions } from './load.ts'

/** File that lists a pipeline's components. */
export const INDEX = 'model_index.json'

/** Pipeline classes whose folders hold networks of this package; the components decide which of them a folder is good for. */
const READABLE = /^(StableDiffusion(?!3)|LatentConsistencyModel|AnimateDiff|KandinskyV22)/

/** Reads a pipeline's `model_index.json`; throws `ConfigError` if it is missing or of another kind of model. */
export async function readModelIndex(place: ModelSource): Promise<Record<string, unknown>> {
  const index = await readConfig(await place.fetch({ folders: [], files: [INDEX] }), INDEX)
  const name = index._class_name
  if (typeof name !== 'string' || !READABLE.test(name)) {
    throw new ConfigError(
      `Expected a pipeline of Stable Diffusion or Kandinsky 2.2 for _class_name in model_index.json but received ${JSON.stringify(name)}`,
    )
  }
  return index
}

/** A pipeline's files and its `model_index.json`, for which a hub is asked once. */
export interface OpenedModel {
  place: ModelSource
  index: Record<string, unknown>
  /** When opening began, by `performance.now()`. */
  begun: number
}

/** Finds a pipeline and reads its index. */
export async function openModel(source: string, options: DownloadOptions = {}): Promise<OpenedModel> {
  const begun = performance.now()
  const { revision, token, cacheDir, localFilesOnly, endpoint, signal, onProgress } = checkOptions('options', options)
  checkSignal(signal)
  const place = await openSource(source, { revision, token, cacheDir, localFilesOnly, endpoint, signal, onProgress })
  return { place, index: await readModelIndex(place), begun }
}

/** The same model if it is open already. */
export async function opened(source: string | OpenedModel, options?: DownloadOptions): Promise<OpenedModel> {
  return typeof source === 'object' && source !== null ? source : openModel(source, options)
}

/** The settings that `model_index.json` gives. */
export function settingsOf(index: Record<string, unknown>, settings: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(settings.map((name) => [name, index[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)]]))
}

let warned = false

/** Says once that a folder's safety checker is left out, unless the caller has decided about it. */
export function warnSafetyChecker(index: Record<string, unknown>, overrides: Record<string, unknown>): void {
  const entry = index.safety_checker
  if (warned || !Array.isArray(entry) || typeof entry[1] !== 'string' || overrides.safetyChecker !== undefined) {
    return
  }
  warned = true
  const advice = 'Say loadSafetyChecker: true to load it, or safetyChecker: null to say that none is wanted.'
  process.emitWarning(
    `model_index.json names the safety checker ${entry[1]}, which is not loaded: images are not checked. ${advice}`,
    'NodeDiffusionWarning',
  )
}
