import { ConfigError, expected } from '../errors.ts'
import { catalog, type NamedScheduler } from './catalog.ts'
import type { SchedulerConfig } from './config.ts'
import { DDIMInverseScheduler, DDIMScheduler } from './ddim.ts'
import { DDPMScheduler } from './ddpm.ts'
import { DEISMultistepScheduler } from './deis.ts'
import { DPMSolverSDEScheduler } from './dpm-sde.ts'
import { DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler } from './dpm-solver.ts'
import { EDMDPMSolverMultistepScheduler, EDMEulerScheduler } from './edm.ts'
import { EulerAncestralDiscreteScheduler, EulerDiscreteScheduler } from './euler.ts'
import { HeunDiscreteScheduler } from './heun.ts'
import { IPNDMScheduler } from './ipndm.ts'
import {
  DPMFastScheduler,
  DPMPlusPlus2SAncestralScheduler,
  DPMPlusPlus3MSDEScheduler,
  ERSDEScheduler,
  GradientEstimationEulerScheduler,
  RESMultistepScheduler,
} from './k-diffusion.ts'
import { KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler } from './kdpm2.ts'
import { LCMScheduler, TCDScheduler } from './lcm.ts'
import { LMSDiscreteScheduler } from './lms.ts'
import { PNDMScheduler } from './pndm.ts'
import { SASolverScheduler } from './sa-solver.ts'
import { Scheduler } from './scheduler.ts'
import { UniPCMultistepScheduler } from './uni-pc.ts'

type AnyScheduler = {
  readonly className: string
  new (config?: SchedulerConfig): Scheduler
  fromConfig(source: SchedulerConfig | Scheduler, overrides?: SchedulerConfig): Scheduler
}

const CLASSES: readonly AnyScheduler[] = [
  DDIMScheduler,
  DDIMInverseScheduler,
  DDPMScheduler,
  PNDMScheduler,
  LMSDiscreteScheduler,
  EulerDiscreteScheduler,
  EulerAncestralDiscreteScheduler,
  DPMSolverMultistepScheduler,
  DPMSolverMultistepInverseScheduler,
  UniPCMultistepScheduler,
  DPMSolverSinglestepScheduler,
  HeunDiscreteScheduler,
  KDPM2AncestralDiscreteScheduler,
  KDPM2DiscreteScheduler,
  DPMSolverSDEScheduler,
  DEISMultistepScheduler,
  IPNDMScheduler,
  SASolverScheduler,
  LCMScheduler,
  TCDScheduler,
  EDMDPMSolverMultistepScheduler,
  EDMEulerScheduler,
  DPMFastScheduler,
  DPMPlusPlus2SAncestralScheduler,
  DPMPlusPlus3MSDEScheduler,
  ERSDEScheduler,
  GradientEstimationEulerScheduler,
  RESMultistepScheduler,
]

/** One scheduler class with the names that user interfaces give to it. */
export type SchedulerInfo = {
  /** The diffusers class. */
  className: string
  /** Names of A1111 and ComfyUI menus, each a config of this class. */
  names: readonly NamedScheduler[]
  /** Model evaluations per step. */
  order: number
  /** Does it draw noise: never, always, with this step option above 0, or depending on this config key. */
  stochastic: boolean | string
}

/** The registry of samplers. */
export const schedulers: { list(): SchedulerInfo[] } = {
  /** Every class with its aliases. */
  list: () =>
    [...catalog().classes.values()].map(({ className, order, stochastic }) => ({
      className,
      names: catalog().names.filter((entry) => entry.className === className),
      order,
      stochastic,
    })),
}

/**
 * A scheduler of the class that `_class_name` names (in `overrides`, else in the config), with the config carried over as `fromConfig` does.
 * Throws `ConfigError` with the nearest names for an unknown class.
 */
export function schedulerFromConfig(config: SchedulerConfig, overrides: SchedulerConfig = {}): Scheduler {
  const name = overrides?._class_name ?? config?._class_name
  if (typeof name !== 'string') {
    throw expected('a scheduler config with _class_name', 'config', config)
  }
  return classNamed(name).fromConfig(config, overrides)
}

/**
 * A scheduler from a menu name ('DPM++ 2M Karras', any case), a class name, a config with `_class_name`, or a scheduler (returned as it is).
 *
 * `base`: the config that names and configs start from (usually the model's own scheduler), so that betas and prediction type stay right.
 * Throws `ConfigError` with the nearest names for an unknown name.
 */
export function resolveScheduler(value: string | SchedulerConfig | Scheduler, base: SchedulerConfig = {}): Scheduler {
  if (value instanceof Scheduler) {
    return value
  }
  if (typeof value === 'string') {
    const named = catalog().names.find(({ name }) => plain(name) === plain(value))
    return named === undefined ? classNamed(value).fromConfig(base) : classNamed(named.className).fromConfig(base, named.overrides)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw expected('a name, a config or a Scheduler', 'scheduler', value)
  }
  const className = value._class_name ?? base._class_name
  if (typeof className !== 'string') {
    throw expected('a scheduler config with _class_name', 'scheduler', value)
  }
  return classNamed(className).fromConfig(base, value)
}

function classNamed(name: string): AnyScheduler {
  const found = CLASSES.find(({ className }) => plain(className) === plain(name))
  if (found === undefined) {
    const known = [...CLASSES.map(({ className }) => className), ...catalog().names.map((entry) => entry.name)]
    throw new ConfigError(
      `Expected a scheduler for scheduler but received ${JSON.stringify(name)}; nearest: ${nearest(name, known).join(', ')}`,
    )
  }
  return found
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[\s_]+/g, '')
}

function nearest(name: string, known: readonly string[]): string[] {
  const ranked = known.map((candidate) => ({ candidate, distance: editDistance(plain(name).slice(0, 100), plain(candidate)) }))
  return ranked
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3)
    .map(({ candidate }) => candidate)
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
