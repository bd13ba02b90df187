import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { checkSignal } from '../abort.ts'
import { checkBoolean, checkOptions } from '../checks.ts'
import { ConfigError } from '../errors.ts'
import { readConfig } from '../models/load.ts'
import { openSingleFile, type SingleFile, type SingleFileOptions } from '../weights/single-file.ts'
import { type LoadedComponents, loadAll, type PipelineLoadOptions, safetyCheckerSlot, withoutUndefined } from './load.ts'
import { settingsOf } from './model-index.ts'
import { checkOverrides, type Slot, type Slots } from './slot.ts'

/** How to load a pipeline from one file; component overrides (`vae`, `scheduler`, ...) stand beside these. */
export interface PipelineSingleFileOptions
  extends Pick<PipelineLoadOptions, 'dtype' | 'device' | 'loading' | 'signal' | 'onProgress' | 'loadSafetyChecker'>,
    Pick<SingleFileOptions, 'config' | 'predictionType' | 'extractEma'> {}

/** Loads the components of a single file that the caller did not give, all at once; tensors go from the mapped file to the packed weights. */
export async function loadSingleFile(
  path: string,
  { name: className, slots, settings }: { name: string; slots: Slots; settings: readonly string[] },
  options: PipelineSingleFileOptions & Record<string, unknown>,
): Promise<LoadedComponents> {
  const started = performance.now()
  const {
    dtype,
    device,
    loading,
    signal,
    onProgress,
    config,
    predictionType,
    extractEma,
    loadSafetyChecker = false,
    ...rest
  } = checkOptions('options', options)
  const overrides = withoutUndefined(rest)
  checkSignal(signal)
  checkOverrides(overrides, slots, settings)
  const file = await openSingleFile(path, { config, predictionType, extractEma, signal })
  checkFamily(file, className, slots)
  const index = await readConfig(file.configs, 'model_index.json')
  const checker = checkBoolean('loadSafetyChecker', loadSafetyChecker) && overrides.safetyChecker === undefined
  const all: Slots = checker ? { ...slots, safetyChecker: await checkerBeside(file) } : slots
  const wanted = Object.entries(all).filter(([name, slot]) => overrides[name] === undefined && isInside(file, name, slot))
  const load = (_: string, slot: Slot, own: object): Promise<object> =>
    slot.loadFile?.(file, own) ?? Promise.reject(missing(file, slot.folder))
  const { loaded, owned } = await loadAll(wanted, load, { dtype, device, loading, signal, onProgress })
  const components = { ...settingsOf(index, settings), ...overrides, ...loaded }
  return { components, owned, loadMs: performance.now() - started }
}

/** A single file has no safety checker; the folder of its configs may have one. */
async function checkerBeside({ path, configs, isOwnConfig }: SingleFile): Promise<Slot> {
  const entry = isOwnConfig ? await stat(join(configs, 'safety_checker')).catch(() => undefined) : undefined
  if (!entry?.isDirectory()) {
    throw new ConfigError(
      `Expected a folder safety_checker in the folder of config, as ${path} holds none: or give one as safetyChecker, by StableDiffusionSafetyChecker.fromPretrained`,
    )
  }
  return { ...safetyCheckerSlot, loadFile: (_, options) => safetyCheckerSlot.load(configs, { ...options, subfolder: 'safety_checker' }) }
}

/** Before gigabytes are read: a file of SDXL is none for Stable Diffusion 1 and 2, and the other way round. */
function checkFamily({ path, facts }: SingleFile, className: string, slots: Slots): void {
  const { family } = facts
  if (family === undefined || family === null) {
    return
  }
  const takes = 'textEncoder2' in slots ? 'Stable Diffusion XL' : 'Stable Diffusion 1 or 2'
  if (family.startsWith('sdxl') !== 'textEncoder2' in slots) {
    throw new ConfigError(
      `Expected a file of ${takes} for ${className} but received ${path}, whose family is ${family}: use AutoPipelineForText2Image.fromSingleFile`,
    )
  }
}

function isInside(file: SingleFile, name: string, { part, optional, folder, loadFile }: Slot): boolean {
  if (loadFile !== undefined && (part === undefined || file.facts.parts?.includes(part))) {
    return true
  }
  if (optional) {
    return false
  }
  throw missing(file, folder, name)
}

function missing({ path, facts }: SingleFile, folder: string, option = folder): ConfigError {
  const inside = facts.parts?.join(', ') ?? 'none'
  return new ConfigError(`Expected the component ${folder} in ${path}, or the option ${option}, but the file holds only: ${inside}`)
}
