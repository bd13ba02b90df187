import { checkInteger, checkNumber, checkOptions, checkString } from '../checks.ts'
import { expected } from '../errors.ts'
import type { Generator } from '../random.ts'
import type { Tensor } from '../tensor.ts'

/**
 * Named noise levels: k-diffusion's and ComfyUI's formulas over the training levels, Align Your Steps by model family, GITS (SD 1.x), and
 * stable-diffusion.cpp's smoothstep.
 */
export type SigmaSpacing =
  | 'karras'
  | 'exponential'
  | 'polyexponential'
  | 'beta'
  | 'normal'
  | 'simple'
  | 'sgm_uniform'
  | 'ddim_uniform'
  | 'kl_optimal'
  | 'smoothstep'
  | 'gits'
  | 'ays_sd15'
  | 'ays_sdxl'
  | 'ays_svd'

/** What `setTimesteps` takes besides the number of steps. At most one of steps, `timesteps` and `sigmas`. */
export type SetTimestepsOptions = {
  /** Custom training timesteps, descending. */
  timesteps?: readonly number[]
  /** Custom noise levels, descending, usually with a final 0. */
  sigmas?: readonly number[]
  /** Named noise levels instead of the config's, for classes that have noise levels of their own. @default `sigma_spacing` of the config */
  sigmaSpacing?: SigmaSpacing
  /** LCM, TCD: share of the schedule that is run, 0 to 1. @default 1 */
  strength?: number
  /** LCM, TCD: steps of the distillation schedule. @default `original_inference_steps` of the config */
  originalInferenceSteps?: number
  /** Flow sigmas with `use_dynamic_shifting`: logarithm of the shift. */
  mu?: number
}

/** Numbers that change the rows of a run. */
export type StepNumbers = {
  /**
   * Share of fresh noise, 0 to 1: DDIM, TCD, DPM++ 3M SDE, RES multistep a, Euler a CFG++; other classes ignore it. Where the timesteps depend on
   * it (DPM fast, DPM adaptive, DPM++ 2S a) it is a key of the config. @default DDIM 0, TCD 0.3, the others 1
   */
  eta?: number
  /** DDIM: derive the direction from the clipped clean sample. @default false */
  useClippedModelOutput?: boolean
  /** Euler, EDMEuler: amount of churn. @default 0 */
  sChurn?: number
  /** Lowest sigma with churn. @default 0 */
  sTmin?: number
  /** Highest sigma with churn. @default Infinity */
  sTmax?: number
  /** Factor on noise drawn by a step. @default 1 */
  sNoise?: number
  /** LMS: order, 1 to 8. @default 4 */
  order?: number
}

/** Options of one `step`. */
export type StepOptions = StepNumbers & {
  /** Source of the noise that the step draws: one generator, or one per image. @default a random one */
  generator?: Generator | readonly Generator[]
  /** The noise itself, in place of a draw; shape of the sample. */
  varianceNoise?: Tensor
  /** The model's answer without the prompt, which CFG++ samplers need; shape of the sample. */
  unconditional?: Tensor
}

/** Options of `plan`. */
export type PlanOptions = SetTimestepsOptions &
  StepNumbers & {
    /** First row of the run. @default 0 */
    beginIndex?: number
  }

const RUN_NAMES = ['timesteps', 'sigmas', 'sigmaSpacing', 'strength', 'originalInferenceSteps', 'mu'] as const
const STEP_NAMES = ['eta', 'useClippedModelOutput', 'sChurn', 'sTmin', 'sTmax', 'sNoise', 'order'] as const
const NUMBERS = ['eta', 'sChurn', 'sTmin', 'sNoise', 'strength'] as const

function checkList(name: string, value: unknown): readonly number[] | undefined {
  if (value === undefined) {
    return undefined
  }
  if (!Array.isArray(value) || value.length === 0) {
    throw expected('a non-empty array of numbers', name, value)
  }
  return value.map((item: unknown, i) => checkNumber(`${name}[${i}]`, item))
}

/** Returns options that have no other names than `known`, else throws. */
function checkNames<T extends object>(value: T | undefined, known: readonly string[]): T {
  const options = checkOptions('options', value)
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown !== undefined) {
    throw expected(`one of ${known.join(', ')}`, 'the name of an option', unknown)
  }
  return options
}

/** The options of `setTimesteps`, without unknown names. */
export function checkRunOptions(value: SetTimestepsOptions | undefined): SetTimestepsOptions {
  return checkNames(value, RUN_NAMES)
}

/** Plan options as the native core reads them; refuses what JSON cannot carry and what the class does not take. */
export function planRequest(steps: number | undefined, given: PlanOptions, accepted: readonly string[]): string {
  const options = checkNames(given, [...RUN_NAMES, ...STEP_NAMES, 'beginIndex'])
  const request: Record<string, unknown> = {
    numInferenceSteps: steps === undefined ? undefined : checkInteger('numInferenceSteps', steps, { min: 1, max: 10_000 }),
    timesteps: checkList('timesteps', options.timesteps),
    sigmas: checkList('sigmas', options.sigmas),
    sigmaSpacing: options.sigmaSpacing === undefined ? undefined : checkString('sigmaSpacing', options.sigmaSpacing),
    beginIndex: options.beginIndex === undefined ? undefined : checkInteger('beginIndex', options.beginIndex, { min: 0 }),
    mu: options.mu === undefined ? undefined : checkNumber('mu', options.mu),
    originalInferenceSteps:
      options.originalInferenceSteps === undefined
        ? undefined
        : checkInteger('originalInferenceSteps', options.originalInferenceSteps, { min: 1 }),
    order: options.order === undefined ? undefined : checkInteger('order', options.order, { min: 1, max: 8 }),
    useClippedModelOutput: options.useClippedModelOutput,
    sTmax: options.sTmax === undefined || options.sTmax === Infinity ? undefined : checkNumber('sTmax', options.sTmax, { min: 0 }),
  }
  for (const name of NUMBERS) {
    const value = options[name]
    request[name] = value === undefined ? undefined : checkNumber(name, value, { min: 0 })
  }
  for (const name of STEP_NAMES) {
    if (accepted.includes(name)) {
      continue
    }
    if (name !== 'eta' && request[name] !== undefined) {
      throw expected('nothing (this scheduler does not take it)', name, request[name])
    }
    request[name] = undefined
  }
  return JSON.stringify(request)
}
