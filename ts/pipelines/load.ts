import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { checkSignal } from '../abort.ts'
import { checkBoolean, checkOptions } from '../checks.ts'
import { ConfigError, expected, WeightsError } from '../errors.ts'
import type { HubOptions } from '../hub/settings.ts'
import { type LoadOptions, readConfig } from '../models/load.ts'
import type { WeightsDType } from '../models/model.ts'
import { StableDiffusionSafetyChecker } from '../models/safety-checker.ts'
import { type ModelSource, openSource } from '../models/source.ts'
import type { Part, SingleFile } from '../weights/single-file.ts'
import type { Owned } from './ownership.ts'

/** How to load a pipeline; component overrides (`unet`, `scheduler`, `safetyChecker: null`, ...) stand beside these. */
export interface PipelineLoadOptions extends Omit<LoadOptions, 'subfolder' | 'dtype'> {
  /** Type that the weights are kept in: one for all, or by component with `default` for the rest; `auto` as in `LoadOptions`. @default 'f32' */
  dtype?: WeightsDType | 'auto' | Record<string, WeightsDType | 'auto'>
  /** Loads the folder's `safety_checker`, which blackens pictures that it objects to and flags them. @default false */
  loadSafetyChecker?: boolean
}

/** The safety checker, which is loaded only when it is asked for. */
export const safetyCheckerSlot: Slot = {
  folder: 'safety_checker',
  type: 'StableDiffusionSafetyChecker',
  classNames: ['StableDiffusionSafetyChecker'],
  is: (value) => value instanceof StableDiffusionSafetyChecker,
  load: (dir, options) => StableDiffusionSafetyChecker.fromPretrained(dir, options),
}

/** What is downloaded, from where, and who follows it. */
export type DownloadOptions = HubOptions & Pick<LoadOptions, 'variant' | 'signal' | 'onProgress'>

/** One component of a pipeline: where it lies, which classes fill it, how it is loaded. */
export interface Slot {
  /** Folder, which is also its key in `model_index.json`. */
  folder: string
  /** Class that a value must be an instance of, for error messages. */
  type: string
  is(value: unknown): boolean
  /** Class names in `model_index.json` that `load` reads; any if left out. */
  classNames?: readonly string[]
  /** May be absent, as one of SDXL's two text encoders. */
  optional?: boolean
  load(dir: string, options: LoadOptions): Promise<object>
  /** Component of a single file that must be there for `loadFile`; none for what needs no weights. */
  part?: Part
  /** Loads it from a single file, or from the configs that go with the file. */
  loadFile?(file: SingleFile, options: LoadOptions): Promise<object>
}

/** The components of a pipeline class, by their names. */
export type Slots = Readonly<Record<string, Slot>>

/** Loaded components, and what of them the pipeline owns. */
export interface LoadedComponents {
  components: Record<string, unknown>
  owned: Owned[]
  loadMs: number
}

const INDEX = 'model_index.json'
/** Options that are about the hub, and no components. */
const FROM_HUB: readonly string[] = ['revision', 'token', 'cacheDir', 'localFilesOnly', 'endpoint'] satisfies (keyof HubOptions)[]
/** Pipeline classes whose folders hold networks of this package; the components decide which of them a folder is good for. */
const READABLE = /^(StableDiffusion(?!3)|LatentConsistencyModel|AnimateDiff)/

/** Reads a pipeline's `model_index.json`; throws `ConfigError` if it is missing or of another kind of model. */
export async function readModelIndex(place: ModelSource): Promise<Record<string, unknown>> {
  const index = await readConfig(await place.fetch({ folders: [], files: [INDEX] }), INDEX)
  const name = index._class_name
  if (typeof name !== 'string' || !READABLE.test(name)) {
    throw new ConfigError(
      `Expected a pipeline of Stable Diffusion for _class_name in model_index.json but received ${JSON.stringify(name)}`,
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

/**
 * Loads what the caller did not give, all at once. After a failure the others are stopped and freed, and the first error is thrown.
 */
export async function loadComponents(
  source: string | OpenedModel,
  { slots, settings }: { slots: Slots; settings: readonly string[] },
  options: PipelineLoadOptions & Record<string, unknown>,
): Promise<LoadedComponents> {
  const { place, index, begun } = typeof source === 'string' ? await openModel(source, options) : source
  const { variant, dtype, device, signal, onProgress, loadSafetyChecker = false, ...others } = options
  const overrides = withoutUndefined(Object.fromEntries(Object.entries(others).filter(([name]) => !FROM_HUB.includes(name))))
  const run = { signal, onProgress }
  checkOverrides(overrides, slots, settings)
  if (!loadSafetyChecker) {
    warnSafetyChecker(index, overrides)
  }
  const all: Slots = checkBoolean('loadSafetyChecker', loadSafetyChecker) ? { ...slots, safetyChecker: safetyCheckerSlot } : slots
  const wanted = Object.entries(all).filter(([name, slot]) => overrides[name] === undefined && isPresent(index, slot, name))
  const folder = await place.fetch({ folders: wanted.map(([, slot]) => slot.folder), files: [INDEX], variant })
  const having = await slotsWithVariant(folder, wanted, variant)
  const load = (name: string, slot: Slot, own: LoadOptions): Promise<object> =>
    slot.load(folder, { ...own, variant: having.has(name) ? variant : undefined, subfolder: slot.folder })
  const { loaded, owned } = await loadAll(wanted, load, { device, dtype, ...run })
  const components: Record<string, unknown> = { ...settingsOf(index, settings), ...overrides, ...loaded }
  return { components, owned, loadMs: performance.now() - begun }
}

/** Loads the components of some slots at once. After a failure the others are stopped and freed, and the first error is thrown. */
export async function loadAll(
  wanted: readonly (readonly [name: string, slot: Slot])[],
  load: (name: string, slot: Slot, options: LoadOptions) => Promise<object>,
  { dtype, device, signal, onProgress }: Pick<PipelineLoadOptions, 'dtype' | 'device' | 'signal' | 'onProgress'>,
): Promise<{ loaded: Record<string, object>; owned: Owned[] }> {
  const failed = new AbortController()
  const stop = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
  const owned: Owned[] = []
  const loaded: Record<string, object> = {}
  const jobs = wanted.map(async ([name, slot]) => {
    const own = { device, signal: stop, onProgress, dtype: typeof dtype === 'object' ? (dtype[name] ?? dtype.default) : dtype }
    const component = await load(name, slot, own)
    loaded[name] = component
    if (isOwned(component)) {
      owned.push(component)
    }
  })
  try {
    await Promise.all(jobs)
  } catch (error) {
    failed.abort(error)
    await Promise.allSettled(jobs)
    for (const component of owned) {
      component.dispose()
    }
    throw error
  }
  return { loaded, owned }
}

/** Names of the components that have weights of the variant, the others give their plain ones; throws `WeightsError` if none has. */
async function slotsWithVariant(
  folder: string,
  slots: readonly (readonly [name: string, slot: Slot])[],
  variant: string | undefined,
): Promise<ReadonlySet<string>> {
  if (variant === undefined) {
    return new Set()
  }
  const found = await Promise.all(
    slots.map(async ([, slot]) => {
      const names = await readdir(join(folder, slot.folder)).catch(() => [])
      return names.some((name) => /\.(safetensors|bin|json)$/.test(name) && name.split(/[.-]/).includes(variant))
    }),
  )
  if (!found.includes(true)) {
    throw new WeightsError(`Expected weights of the variant ${JSON.stringify(variant)} in ${folder} but received none`)
  }
  return new Set(slots.filter((_, i) => found[i]).map(([name]) => name))
}

/** Brings the files that a pipeline class needs here, without loading any; returns the folder that holds them. */
export async function downloadComponents(
  source: string | OpenedModel,
  { slots }: { slots: Slots },
  options: DownloadOptions = {},
): Promise<string> {
  const { place, index } = typeof source === 'string' ? await openModel(source, options) : source
  const wanted = Object.entries(slots).filter(([name, slot]) => isPresent(index, slot, name))
  return place.fetch({ folders: wanted.map(([, slot]) => slot.folder), files: [INDEX], variant: options.variant })
}

/** Throws unless the values fit the slots and none that is required is missing. */
export function checkComponents(components: object, slots: Slots): void {
  const given = components as Readonly<Record<string, unknown>>
  for (const [name, slot] of Object.entries(slots)) {
    const value = given[name]
    if (!slot.is(value) && !(slot.optional && (value === undefined || value === null))) {
      throw expected(`a ${slot.type}`, name, value)
    }
  }
}

/** A copy without the keys whose value is undefined. */
export function withoutUndefined(values: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

/** The settings that `model_index.json` gives. */
export function settingsOf(index: Record<string, unknown>, settings: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(settings.map((name) => [name, index[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)]]))
}

/** Throws for names that are no component of the class, and for values that do not fit. */
export function checkOverrides(overrides: Record<string, unknown>, slots: Slots, settings: readonly string[]): void {
  const known = [...Object.keys(slots), ...settings, 'safetyChecker']
  for (const [name, value] of Object.entries(overrides)) {
    const slot = slots[name]
    if (!known.includes(name)) {
      throw expected(`one of ${known.join(', ')}`, 'the name of a component', name)
    }
    if (slot !== undefined && value !== undefined && !slot.is(value) && !(slot.optional && value === null)) {
      throw expected(`a ${slot.type}`, name, value)
    }
  }
}

function isPresent(index: Record<string, unknown>, slot: Slot, name: string): boolean {
  const entry = index[slot.folder]
  const className: unknown = Array.isArray(entry) ? entry[1] : undefined
  if (typeof className !== 'string') {
    if (slot.optional) {
      return false
    }
    throw new ConfigError(`Expected the component ${slot.folder} in model_index.json, or the option ${name}, but received neither`)
  }
  if (slot.classNames !== undefined && !slot.classNames.includes(className)) {
    throw new ConfigError(
      `Expected ${slot.classNames.join(' or ')} for ${slot.folder} in model_index.json but received ${JSON.stringify(className)}`,
    )
  }
  return true
}

let warned = false

function warnSafetyChecker(index: Record<string, unknown>, overrides: Record<string, unknown>): void {
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

function isOwned(component: object): component is Owned {
  return 'dispose' in component && typeof component.dispose === 'function'
}
