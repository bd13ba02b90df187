import { InvalidArgumentError } from '../errors.ts'
import { type ImageInput, loadImage } from '../image/load-image.ts'
import type { GenerationParameters } from '../image/metadata/parameters.ts'
import { parseParameters } from '../image/metadata/read.ts'
import { parseOptions } from '../pipelines/parse-options.ts'
import { findStyles, loadStyles } from '../prompt/styles.ts'
import { loadWildcards } from '../prompt/wildcard-files.ts'
import { resolveScheduler } from '../schedulers/resolve.ts'
import { note, UsageError } from './exit.ts'
import { checkModel } from './file-place.ts'
import { commandDefaults, type Flag, generateFlags, longName, schemas } from './generate-flags.ts'
import { checkModelFlags } from './load-model.ts'

/** What a call of the command asks for. */
export type Task = keyof typeof schemas

/** The checked call: which pipeline, and the options for its `generate`. */
export type GenerateCall = { task: Task; model: string; options: Record<string, unknown> }

const attribute = (flag: Flag): string =>
  longName(flag.flag)
    .slice(2)
    .replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())

/** The text after a flag as the schema wants it; text that is no number stays text, so that the schema's error shows it. */
function read(text: string, kind: Flag['kind']): unknown {
  const number = (part: string): unknown => {
    const trimmed = part.trim()
    return trimmed !== '' && Number.isFinite(Number(trimmed)) ? exact(trimmed) : part
  }
  return kind === 'number' && !text.includes(',') ? number(text) : kind === 'text' ? text : text.split(',').map(number)
}

function exact(text: string): number | bigint {
  return /^\d{16,}$/.test(text) ? BigInt(text) : Number(text)
}

function fromFlags(flags: Record<string, unknown>): Record<string, unknown> {
  const spelled = { steps: flags.numInferenceSteps, count: flags.numImagesPerPrompt }
  const given: Record<string, unknown> = {}
  for (const flag of generateFlags) {
    const name = attribute(flag)
    const text = flags[name] ?? spelled[name as keyof typeof spelled]
    if (typeof text === 'string') {
      given[flag.option] = read(text, flag.kind)
    }
  }
  return given
}

/** Styles and wildcards, which lie in files. */
async function fromFiles({ styles, stylesFile, wildcards }: Record<string, unknown>): Promise<Record<string, unknown>> {
  if (typeof styles === 'string' && typeof stylesFile !== 'string') {
    throw new UsageError('Expected --styles-file <file> with --styles, but it was not given')
  }
  return {
    ...(typeof styles === 'string' && {
      styles: findStyles(
        await loadStyles(String(stylesFile)),
        styles.split(',').map((name) => name.trim()),
      ),
    }),
    ...(typeof wildcards === 'string' && { wildcards: await loadWildcards(wildcards) }),
  }
}

/** Of a picture's parameters, those that are options of the command. */
function fromMetadata(parameters: GenerationParameters): Record<string, unknown> {
  const known = new Set(['prompt', ...generateFlags.map(({ option }) => option)])
  return Object.fromEntries(Object.entries(parameters).filter(([name, value]) => known.has(name) && value !== null))
}

/** Says which adapters a picture was made with that the command is not given; their files are known by name alone. */
function noteAdapters({ loras = [], textualInversions = [], controls = [] }: GenerationParameters, flags: Record<string, unknown>): void {
  const told: [flag: string, names: string[]][] = [
    ['lora', loras.map(({ name, weight }) => (typeof weight === 'number' ? `${name}:${weight}` : name))],
    ['embedding', textualInversions.map(({ token }) => token)],
    ['controlnet', controls.filter(({ kind }) => kind !== 'ip-adapter').map(({ model }) => model)],
    ['ip-adapter', controls.filter(({ kind }) => kind === 'ip-adapter').map(({ model }) => model)],
  ]
  for (const [flag, names] of told) {
    if (names.length > 0 && flags[flag === 'ip-adapter' ? 'ipAdapter' : flag] === undefined) {
      note(`The picture was made with ${names.join(', ')}, which --from does not bring: give --${flag}`)
    }
  }
}

function taskOf(options: Record<string, unknown>): Task {
  if (options.maskImage !== undefined && options.image === undefined) {
    throw new UsageError('Expected --image <picture> with --mask, but it was not given')
  }
  if (options.maskImage !== undefined) {
    return 'inpainting'
  }
  return options.image === undefined ? 'textToImage' : 'imageToImage'
}

/** Checks against the task's schema; the message names the flag instead of the option. */
function check(task: Task, options: Record<string, unknown>): void {
  for (const name of Object.keys(options)) {
    if (!(name in schemas[task].shape)) {
      const flag = generateFlags.find(({ option }) => option === name)
      const need = name === 'width' || name === 'height' ? 'only without --image, whose size is kept' : 'only with --image or --mask'
      throw new UsageError(`${longName(flag?.flag ?? name)} can be used ${need}`)
    }
  }
  try {
    parseOptions(schemas[task], options)
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) {
      throw error
    }
    const flag = generateFlags.find(({ option }) => error.message.includes(` for ${option} but`))
    throw new UsageError(
      flag === undefined ? error.message : error.message.replace(` for ${flag.option} but`, ` for ${longName(flag.flag)} but`),
    )
  }
}

/** An unknown scheduler is found here, before any weights are read. */
function checkScheduler(scheduler: unknown): void {
  try {
    if (scheduler !== undefined) {
      resolveScheduler(scheduler as string)
    }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new UsageError(message.replace(' for scheduler but', ' for --scheduler but'))
  }
}

/** Reads the pictures, so that a bad one is found before the model is loaded. */
async function readPictures(options: Record<string, unknown>): Promise<void> {
  for (const [option, name] of [
    ['image', '--image'],
    ['maskImage', '--mask'],
  ] as const) {
    if (options[option] !== undefined) {
      options[option] = await loadImage(options[option] as ImageInput, { name })
    }
  }
}

/** Turns prompt and flags into a checked call; throws `UsageError` with one sentence before anything is loaded. */
export async function readGenerateCall(prompt: string | undefined, flags: Record<string, unknown>): Promise<GenerateCall> {
  const parameters = typeof flags.from === 'string' ? await parseParameters(flags.from) : {}
  noteAdapters(parameters, flags)
  const metadata = fromMetadata(parameters)
  const given = { ...fromFlags(flags), ...(prompt === undefined ? {} : { prompt }) }
  Object.assign(given, await fromFiles(flags))
  const task = taskOf(given)
  const usable = Object.entries(metadata).filter(([name]) => name in schemas[task].shape)
  const options: Record<string, unknown> = { ...commandDefaults, ...Object.fromEntries(usable), ...given }
  if (options.prompt === undefined) {
    throw new UsageError('Expected a prompt, as in node-diffusion generate "a red circle on a blue background", but received none')
  }
  if (options.timesteps !== undefined || options.sigmas !== undefined) {
    delete options.numInferenceSteps
  }
  check(task, options)
  await checkModel(String(flags.model), '--model')
  await checkModelFlags(String(flags.model), flags)
  checkScheduler(options.scheduler)
  await readPictures(options)
  return { task, model: String(flags.model), options }
}
