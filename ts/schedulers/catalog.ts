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
  /** Classes that diffusers lists as interchangeable. */
  readonly compatibles: readonly string[]
}

/** A name from the menus of A1111 and ComfyUI. */
export type NamedScheduler = {
  readonly name: string
  readonly className: string
  /** Config keys that the name implies. */
  readonly overrides: Readonly<SchedulerConfig>
}

let loaded: { classes: ReadonlyMap<string, ClassInfo>; names: readonly NamedScheduler[] } | undefined

/** All classes and names, read from the native core once. */
export function catalog(): { classes: ReadonlyMap<string, ClassInfo>; names: readonly NamedScheduler[] } {
  if (loaded === undefined) {
    const { classes, names } = JSON.parse(native.schedulerList()) as { classes: ClassInfo[]; names: NamedScheduler[] }
    loaded = { classes: new Map(classes.map((info) => [info.className, info])), names }
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
