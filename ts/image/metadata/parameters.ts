import { peakScale } from '../../guidance/schedule.ts'
import { type AdapterRecords, adapterFields, loraTags, readAdapterField } from './adapters.ts'

/** What a picture was made with: the options of the call by their names (`prompt`, `numInferenceSteps`, ...) and anything else that can be JSON. */
export type GenerationParameters = AdapterRecords & {
  prompt?: string
  negativePrompt?: string
  numInferenceSteps?: number
  /** A number, or the schedule: one for each step, or an interval. */
  guidanceScale?: number | readonly number[] | { scale: number; from?: number; to?: number }
  seed?: number | bigint
  width?: number
  height?: number
  /** Sampler by name ('DPM++ 2M Karras') or diffusers class ('DDIMScheduler'). */
  scheduler?: string
  strength?: number
  clipSkip?: number
  eta?: number
  rng?: string
  model?: string
  modelHash?: string
  [key: string]: unknown
}

/** diffusers classes whose sampler the web UI knows by another name. */
const samplerNames: Record<string, string> = {
  DDIMScheduler: 'DDIM',
  DPMSolverMultistepScheduler: 'DPM++ 2M',
  DPMSolverSinglestepScheduler: 'DPM++ 2S',
  EulerAncestralDiscreteScheduler: 'Euler a',
  EulerDiscreteScheduler: 'Euler',
  HeunDiscreteScheduler: 'Heun',
  KDPM2AncestralDiscreteScheduler: 'DPM2 a',
  KDPM2DiscreteScheduler: 'DPM2',
  LCMScheduler: 'LCM',
  LMSDiscreteScheduler: 'LMS',
  PNDMScheduler: 'PLMS',
  UniPCMultistepScheduler: 'UniPC',
}

const scheduleTypes = [
  'Karras',
  'Exponential',
  'Beta',
  'Uniform',
  'SGM Uniform',
  'KL Optimal',
  'Align Your Steps',
  'Simple',
  'Normal',
  'DDIM',
  'Turbo',
]

/** Quotes a value that would break the comma-separated list, as JSON. Source: AUTOMATIC1111 modules/infotext_utils.py `quote`. */
function quote(value: unknown): string {
  const text = String(value)
  return /[,\n:]/.test(text) ? JSON.stringify(text) : text
}

function unquote(text: string): string {
  if (!(text.startsWith('"') && text.endsWith('"'))) {
    return text
  }
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'string' ? value : text
  } catch {
    return text
  }
}

function splitSampler(scheduler: string): { sampler: string; schedule: string } {
  const name = samplerNames[scheduler] ?? scheduler
  const schedule = scheduleTypes.find((type) => name.endsWith(` ${type}`))
  return schedule === undefined ? { sampler: name, schedule: 'Automatic' } : { sampler: name.slice(0, -schedule.length - 1), schedule }
}

/** The fields of the last line, in the web UI's order; a number counts layers in `Clip skip` from 1, where diffusers counts from 0. */
function fields(parameters: GenerationParameters): [name: string, value: unknown][] {
  const { width, height, clipSkip, rng, eta } = parameters
  const { sampler, schedule } = parameters.scheduler === undefined ? {} : splitSampler(parameters.scheduler)
  return [
    ['Steps', parameters.numInferenceSteps],
    ['Sampler', sampler],
    ['Schedule type', schedule],
    ['CFG scale', parameters.guidanceScale === undefined ? undefined : peakScale(parameters.guidanceScale)],
    ['Image CFG scale', parameters.imageGuidanceScale],
    ['Seed', parameters.seed],
    ['Size', width === undefined || height === undefined ? undefined : `${width}x${height}`],
    ['Model hash', parameters.modelHash],
    ['Model', parameters.model],
    ['Denoising strength', parameters.strength],
    ['Clip skip', clipSkip === undefined || clipSkip === 0 ? undefined : clipSkip + 1],
    ['Eta', eta === 0 ? undefined : eta],
    ...adapterFields(parameters),
    ['RNG', rng === 'torch-cuda' ? 'NV' : rng === 'torch-cpu' ? 'CPU' : undefined],
    ['Version', parameters.version],
  ]
}

/** Writes the text that AUTOMATIC1111's web UI keeps under `parameters`. Source: modules/processing.py `create_infotext`. */
export function formatParameters(parameters: GenerationParameters): string {
  const { prompt = '', negativePrompt } = parameters
  const last = fields(parameters)
    .filter(([, value]) => value !== undefined && value !== null)
    .map(([name, value]) => `${name}: ${quote(value)}`)
    .join(', ')
  return [prompt + loraTags(prompt, parameters), ...(negativePrompt ? [`Negative prompt: ${negativePrompt}`] : []), last].join('\n').trim()
}

const field = /\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)/g

/** Field name in the web UI to option name, for what is a plain number. */
const numbers: Record<string, string> = {
  Steps: 'numInferenceSteps',
  'CFG scale': 'guidanceScale',
  'Image CFG scale': 'imageGuidanceScale',
  'Denoising strength': 'strength',
  Eta: 'eta',
  'Eta DDIM': 'eta',
}

function readField(into: GenerationParameters, name: string, value: string): void {
  const size = /^(\d+)x(\d+)$/.exec(value)
  if (name === 'Size' && size !== null) {
    into.width = Number(size[1])
    into.height = Number(size[2])
  } else if (name === 'Seed' && /^\d+$/.test(value)) {
    into.seed = Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value)
  } else if (name === 'Clip skip' && Number(value) >= 1) {
    into.clipSkip = Number(value) - 1
  } else if (name === 'Sampler') {
    into.scheduler = value
  } else if (name === 'Model') {
    into.model = value
  } else if (name === 'Model hash') {
    into.modelHash = value
  } else if (name === 'Version') {
    into.version = value
  } else if (name === 'RNG') {
    into.rng = value === 'CPU' ? 'torch-cpu' : 'torch-cuda'
  } else {
    const option = numbers[name]
    into[option ?? name] = option !== undefined && Number.isFinite(Number(value)) ? Number(value) : value
  }
}

/**
 * Reads the web UI's text back into options; fields without an option of their own keep the web UI's name, as text.
 *
 * Source: AUTOMATIC1111 modules/infotext_utils.py `parse_generation_parameters`.
 */
export function parseParametersText(text: string): GenerationParameters {
  const lines = text.trim().split('\n')
  const last = [...(lines.at(-1) ?? '').matchAll(field)]
  const found = last.length < 3 ? [] : last
  if (found.length > 0) {
    lines.pop()
  }
  const start = lines.findIndex((line) => line.trim().startsWith('Negative prompt:'))
  const trimmed = lines.map((line) => line.trim())
  const prompt = trimmed.slice(0, start === -1 ? undefined : start).join('\n')
  const negative = start === -1 ? '' : trimmed.slice(start).join('\n').slice('Negative prompt:'.length).trim()
  const result: GenerationParameters = { prompt, ...(negative === '' ? {} : { negativePrompt: negative }) }
  let schedule = ''
  for (const [, name = '', value = ''] of found) {
    if (name === 'Schedule type') {
      schedule = unquote(value)
    } else if (!readAdapterField(result, name, unquote(value), prompt)) {
      readField(result, name, unquote(value))
    }
  }
  if (result.scheduler !== undefined && schedule !== '' && schedule !== 'Automatic') {
    result.scheduler = `${result.scheduler} ${schedule}`
  }
  return result
}
