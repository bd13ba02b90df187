import { ConfigError } from '../errors.ts'
import { native } from '../native.ts'
import type { SchedulerConfig } from './config.ts'

/** What is known about a scheduler class. */
export type ClassInfo = {
  readonly className: string
  /** Model evaluations per step. */
  readonly order: number
  /** Does it draw noise: never, always, with this step option above 0, or depending on this config key. */
  readonly stochastic: boolean | string
  /** Options that its `step` takes. */
  readonly stepOptions: readonly string[]
  /** Python's defaults, in the order of the Python signature. */
  readonly defaults: Readonly<SchedulerConfig>
  /** Can its noise levels be named by `sigma_spacing`? */
  readonly spaced: boolean
  /** Classes that diffusers lists as interchangeable. */
  readonly compatibles: readonly string[]
}

/** A name from the menus of A1111 and ComfyUI. */
export type NamedScheduler = {
  readonly name: string
  /** The same in other programs. */
  readonly aliases: readonly string[]
  readonly className: string
  /** Config keys that the name implies. */
  readonly overrides: Readonly<SchedulerConfig>
}

/** A name of noise levels, which may follow that of a sampler. */
export type NamedSpacing = {
  readonly name: string
  readonly aliases: readonly string[]
  /** Config flag of diffusers that chooses them, for classes that have it. */
  readonly flag: string | null
  /** `sigma_spacing` that chooses them for other classes. */
  readonly spacing: string | null
}

/** All that is known about schedulers. */
export type Catalog = {
  readonly classes: ReadonlyMap<string, ClassInfo>
  readonly names: readonly NamedScheduler[]
  readonly spacings: readonly NamedSpacing[]
}

type CatalogJson = { classes: ClassInfo[]; names: NamedScheduler[]; spacings: NamedSpacing[] }

let loaded: Catalog | undefined

/** All classes and names, read from the native core once. */
export function catalog(): Catalog {
  if (loaded === undefined) {
    const { classes, ...rest } = JSON.parse(native.schedulerList()) as CatalogJson
    loaded = { classes: new Map(classes.map((info) => [info.className, info])), ...rest }
  }
  return loaded
}

/** The entry of a class name. */
export function classInfo(className: string): ClassInfo {
  const info = catalog().classes.get(className)
  if (info === undefined) {
    throw new ConfigError(`Expected a scheduler class for _class_name but received ${className}`)
  }
  return info
}
