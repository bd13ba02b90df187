import { ConfigError, expected } from '../errors.ts'
import { catalog, type NamedScheduler, type NamedSpacing } from './catalog.ts'
import type { SchedulerConfig } from './config.ts'
import { DDIMInverseScheduler, DDIMScheduler } from './ddim.ts'
import { DDPMScheduler } from './ddpm.ts'
import { DEISMultistepScheduler } from './deis.ts'
import { DPMAdaptiveScheduler } from './dpm-adaptive.ts'
import { DPMSolverSDEScheduler } from './dpm-sde.ts'
import { DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler } from './dpm-solver.ts'
import { EDMDPMSolverMultistepScheduler, EDMEulerScheduler } from './edm.ts'
import { EulerAncestralDiscreteScheduler, EulerDiscreteScheduler } from './euler.ts'
import { HeunDiscreteScheduler } from './heun.ts'
import { IPNDMScheduler } from './ipndm.ts'
import {
  DPMFastScheduler,
  DPMPlusPlus2MCFGPlusPlusScheduler,
  DPMPlusPlus2SAncestralCFGPlusPlusScheduler,
  DPMPlusPlus2SAncestralScheduler,
  DPMPlusPlus3MSDEScheduler,
  ERSDEScheduler,
  EulerAncestralCFGPlusPlusScheduler,
  EulerCFGPlusPlusScheduler,
  GradientEstimationEulerCFGPlusPlusScheduler,
  GradientEstimationEulerScheduler,
  RESMultistepAncestralCFGPlusPlusScheduler,
  RESMultistepAncestralScheduler,
  RESMultistepCFGPlusPlusScheduler,
  RESMultistepScheduler,
  SigmaIPNDMScheduler,
} from './k-diffusion.ts'
import { KDPM2AncestralDiscreteScheduler, KDPM2DiscreteScheduler } from './kdpm2.ts'
import { LCMScheduler, TCDScheduler } from './lcm.ts'
import { LMSDiscreteScheduler } from './lms.ts'
import { meaning, nearest, plain } from './names.ts'
import { PNDMScheduler } from './pndm.ts'
import { SASolverScheduler } from './sa-solver.ts'
import { Scheduler } from './scheduler.ts'
import { UnCLIPScheduler } from './unclip.ts'
import { UniPCMultistepScheduler } from './uni-pc.ts'

type AnyScheduler = {
  readonly className: string
  new (config?: SchedulerConfig): Scheduler
  fromConfig(source: SchedulerConfig | Scheduler, overrides?: SchedulerConfig): Scheduler
}

/** Classes that can be imported; a sampler of the registry is found by its name without one. */
const CLASSES: readonly AnyScheduler[] = [
  DDIMScheduler,
  DDIMInverseScheduler,
  DDPMScheduler,
  UnCLIPScheduler,
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
  DPMAdaptiveScheduler,
  DPMFastScheduler,
  DPMPlusPlus2SAncestralScheduler,
  DPMPlusPlus3MSDEScheduler,
  ERSDEScheduler,
  EulerAncestralCFGPlusPlusScheduler,
  EulerCFGPlusPlusScheduler,
  GradientEstimationEulerScheduler,
  RESMultistepAncestralScheduler,
  RESMultistepScheduler,
  SigmaIPNDMScheduler,
  DPMPlusPlus2MCFGPlusPlusScheduler,
  DPMPlusPlus2SAncestralCFGPlusPlusScheduler,
  RESMultistepCFGPlusPlusScheduler,
  RESMultistepAncestralCFGPlusPlusScheduler,
  GradientEstimationEulerCFGPlusPlusScheduler,
]

/** Families of models that Align Your Steps has noise levels for. */
export type ModelFamily = 'sd15' | 'sdxl' | 'svd'

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
  /** Names of noise levels that may follow its own: 'Karras', 'SGM Uniform'; none where its levels are fixed. */
  spacings: readonly string[]
}

/** The registry of samplers. */
export const schedulers: { list(): SchedulerInfo[] } = {
  /** Every class with its names and their aliases. */
  list: () =>
    [...catalog().classes.values()].map(({ className, order, stochastic, spaced, defaults }) => ({
      className,
      names: catalog().names.filter((entry) => entry.className === className),
      order,
      stochastic,
      spacings: spaced ? catalog().spacings.flatMap((spacing) => (has(defaults, spacing) ? [spacing.name] : [])) : [],
    })),
}

function has(defaults: Readonly<SchedulerConfig>, { flag, spacing }: NamedSpacing): boolean {
  return spacing !== null || (flag !== null && flag in defaults)
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
 * A scheduler from a name (of a menu or of ComfyUI, any case: 'DPM++ 2M Karras', 'dpmpp_2m sgm_uniform', 'EulerDiscrete'), a config with
 * `_class_name`, or a scheduler (returned as it is).
 *
 * `base`: the config that names and configs start from (usually the model's own scheduler), so that betas and prediction type stay right.
 * `family`: of the model, for 'Align Your Steps'. Throws `ConfigError` with the nearest names for an unknown name.
 */
export function resolveScheduler(
  value: string | SchedulerConfig | Scheduler,
  base: SchedulerConfig = {},
  { family }: { family?: ModelFamily } = {},
): Scheduler {
  if (value instanceof Scheduler) {
    return value
  }
  if (typeof value === 'string') {
    const { className, overrides } = meaning(value, base) ?? { className: value, overrides: {} }
    return classNamed(className).fromConfig(base, stepsOf(family, overrides))
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw expected('a name, a config or a Scheduler', 'scheduler', value)
  }
  const className = value._class_name ?? base._class_name
  if (typeof className !== 'string') {
    throw expected('a scheduler config with _class_name', 'scheduler', value)
  }
  return classNamed(className).fromConfig(base, stepsOf(family, value))
}

/** A config in which Align Your Steps are those of a family. */
function stepsOf(family: ModelFamily | undefined, config: SchedulerConfig): SchedulerConfig {
  return config.sigma_spacing === 'ays' && family !== undefined ? { ...config, sigma_spacing: `ays_${family}` } : config
}

function classNamed(name: string): AnyScheduler {
  const found = CLASSES.find(({ className }) => plain(className) === plain(name)) ?? registered(name)
  if (found === undefined) {
    throw new ConfigError(`Expected a scheduler for scheduler but received ${JSON.stringify(name)}; nearest: ${nearest(name).join(', ')}`)
  }
  return found
}

const made = new Map<string, AnyScheduler>()

/** The class of a sampler that only the native registry knows by name. */
function registered(name: string): AnyScheduler | undefined {
  const known = [...catalog().classes.keys()].find((className) => plain(className) === plain(name))
  if (known === undefined) {
    return undefined
  }
  const found = made.get(known) ?? define(known)
  made.set(known, found)
  return found
}

function define(name: string): AnyScheduler {
  return class extends Scheduler {
    static override readonly className: string = name
  }
}
