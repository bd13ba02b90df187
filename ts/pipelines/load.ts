import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { checkBoolean } from '../checks.ts'
import { WeightsError } from '../errors.ts'
import type { HubOptions } from '../hub/settings.ts'
import type { LoadOptions } from '../models/load.ts'
import type { WeightsDType } from '../models/model.ts'
import { StableDiffusionSafetyChecker } from '../models/safety-checker.ts'
import { INDEX, type OpenedModel, opened, settingsOf, warnSafetyChecker } from './model-index.ts'
import type { Owned } from './ownership.ts'
import { checkOverrides, isPresent, type Slot, type Slots, slotOf } from './slot.ts'

/** How to load a pipeline; component overrides (`unet`, `scheduler`, `safetyChecker: null`, ...) stand beside these. */
export interface PipelineLoadOptions extends Omit<LoadOptions, 'subfolder' | 'dtype'> {
  /** Type that the weights are kept in: one for all, or by component with `default` for the rest; `auto` as in `LoadOptions`. @default 'f32' */
  dtype?: WeightsDType | 'auto' | Record<string, WeightsDType | 'auto'>
  /** Loads the folder's `safety_checker`, which blackens pictures that it objects to and flags them. @default false */
  loadSafetyChecker?: boolean
}

/** The safety checker, which is loaded only when it is asked for. */
export const safetyCheckerSlot: Slot = slotOf('safety_checker', StableDiffusionSafetyChecker)

/** What is downloaded, from where, and who follows it. */
export type DownloadOptions = HubOptions & Pick<LoadOptions, 'variant' | 'signal' | 'onProgress'>

/** Loaded components, and what of them the pipeline owns. */
export interface LoadedComponents {
  components: Record<string, unknown>
  owned: Owned[]
  loadMs: number
}

/** Options that are about the hub, and no components. */
const FROM_HUB: readonly string[] = ['revision', 'token', 'cacheDir', 'localFilesOnly', 'endpoint'] satisfies (keyof HubOptions)[]

/**
 * Loads what the caller did not give, all at once. After a failure the others are stopped and freed, and the first error is thrown.
 */
export async function loadComponents(
  source: string | OpenedModel,
  { slots, settings }: { slots: Slots; settings: readonly string[] },
  options: PipelineLoadOptions & Record<string, unknown>,
): Promise<LoadedComponents> {
  const { place, index, begun } = await opened(source, options)
  const { variant, dtype, device, loading, signal, onProgress, loadSafetyChecker = false, ...others } = options
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
  const { loaded, owned } = await loadAll(wanted, load, { device, dtype, loading, ...run })
  const components: Record<string, unknown> = { ...settingsOf(index, settings), ...overrides, ...loaded }
  return { components, owned, loadMs: performance.now() - begun }
}

/** Loads the components of some slots at once. After a failure the others are stopped and freed, and the first error is thrown. */
export async function loadAll(
  wanted: readonly (readonly [name: string, slot: Slot])[],
  load: (name: string, slot: Slot, options: LoadOptions) => Promise<object>,
  { dtype, device, loading, signal, onProgress }: Pick<PipelineLoadOptions, 'dtype' | 'device' | 'loading' | 'signal' | 'onProgress'>,
): Promise<{ loaded: Record<string, object>; owned: Owned[] }> {
  const failed = new AbortController()
  const stop = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
  const owned: Owned[] = []
  const loaded: Record<string, object> = {}
  const jobs = wanted.map(async ([name, slot]) => {
    const own = { device, loading, signal: stop, onProgress, dtype: typeof dtype === 'object' ? (dtype[name] ?? dtype.default) : dtype }
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
  const { place, index } = await opened(source, options)
  const wanted = Object.entries(slots).filter(([name, slot]) => isPresent(index, slot, name))
  return place.fetch({ folders: wanted.map(([, slot]) => slot.folder), files: [INDEX], variant: options.variant })
}

/** A copy without the keys whose value is undefined. */
export function withoutUndefined(values: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))
}

function isOwned(component: object): component is Owned {
  return 'dispose' in component && typeof component.dispose === 'function'
}
