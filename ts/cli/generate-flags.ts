import { type Command, Option } from 'commander'
import type { z } from 'zod'
import { describeOptions } from '../pipelines/option.ts'
import { imageToImageSchema, inpaintSchema, textToImageSchema } from '../pipelines/options.ts'
import { addAdapterFlags } from './adapter-flags.ts'
import { addConditionFlags } from './condition-flags.ts'
import { addHiresFlags } from './hires-flags.ts'
import { addHubFlags } from './hub-flags.ts'
import { addRefinerFlags } from './refiner-flags.ts'
import { addUpscaleFlags } from './upscale-flags.ts'
import { addVideoFlags } from './video-flags.ts'

/** Flags that read better under another name than the option's. */
const flagNames: Record<string, string> = {
  numInferenceSteps: '-s, --steps <number>',
  numImagesPerPrompt: '-n, --count <number>',
  negativePrompt: '--negative-prompt <text>',
  image: '-i, --image <picture>',
  maskImage: '--mask <picture>',
  width: '--width <pixels>',
  height: '--height <pixels>',
  scheduler: '--scheduler <name>',
  promptSyntax: '--prompt-syntax <name>',
  memory: '--memory <bytes>',
}

/** Descriptions that read better on a command line. */
const descriptions: Record<string, string> = {
  promptSyntax: 'How prompts are read: plain, a1111, compel or lpw (default: plain)',
  image: 'Picture to start from',
  maskImage: 'White is repainted, black kept; default: the transparent part of --image',
}

/** Other spellings of a flag, without a line of their own in the help. */
const aliases: Record<string, string[]> = { numInferenceSteps: ['--num-inference-steps'], numImagesPerPrompt: ['--num-images-per-prompt'] }

/** Options that have no form on a command line, or that the command sets itself. */
const left = new Set([
  'prompt',
  'conditioning',
  'styles',
  'wildcards',
  'preview',
  'outputType',
  'onAbort',
  'generator',
  'promptEmbeds',
  'negativePromptEmbeds',
  'latents',
  'maskedImageLatents',
  'callbackOnStepEnd',
  'conditions',
  'guidance',
  'ipAdapterImage',
  'negativeIpAdapterImage',
  'ipAdapterImageEmbeds',
  'ipAdapterMasks',
  'loraWeights',
  'crossAttentionKwargs',
])

/** Defaults of the command where they differ from the SDK's. */
export const commandDefaults: Readonly<Record<string, unknown>> = { numInferenceSteps: 25 }

/** How the text after a flag becomes a value. */
export type Kind = 'number' | 'numbers' | 'text'

/** One flag of `generate`: the option behind it and how its text is read. */
export type Flag = { option: string; flag: string; kind: Kind; description: string; fallback: unknown }

/** Schema of a task's options. */
export const schemas = { textToImage: textToImageSchema, imageToImage: imageToImageSchema, inpainting: inpaintSchema } as const

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

function unwrap(schema: z.core.$ZodType): { inner: z.core.$ZodType; fallback: unknown } {
  const { def } = schema._zod
  if (def.type === 'optional' || def.type === 'default') {
    const { innerType, defaultValue } = def as unknown as { innerType: z.core.$ZodType; defaultValue?: unknown }
    return { inner: unwrap(innerType).inner, fallback: defaultValue }
  }
  return { inner: schema, fallback: undefined }
}

function kindOf(schema: z.core.$ZodType): Kind {
  const { def } = schema._zod
  if (def.type === 'number' || def.type === 'int') {
    return 'number'
  }
  if (def.type === 'array') {
    return 'numbers'
  }
  const members = def.type === 'union' ? (def as unknown as { options: z.core.$ZodType[] }).options : []
  return members.some((member) => kindOf(member) === 'number') ? 'number' : 'text'
}

function flagsOf(schema: z.ZodObject): Flag[] {
  const described = describeOptions(schema)
  return Object.entries(schema.shape)
    .filter(([name]) => !left.has(name))
    .map(([option, field]) => {
      const { inner, fallback } = unwrap(field as z.core.$ZodType)
      const kind = kindOf(inner)
      const value = kind === 'text' ? '<text>' : kind === 'numbers' ? '<a,b,...>' : '<number>'
      const flag = flagNames[option] ?? `--${kebab(option)} ${value}`
      return {
        option,
        flag,
        kind,
        description: descriptions[option] ?? described[option]?.description ?? '',
        fallback: commandDefaults[option] ?? fallback,
      }
    })
}

/** Every flag that comes from a schema, each once. `strength` has another default for each task and so none here. */
export const generateFlags: readonly Flag[] = [
  ...new Map([textToImageSchema, imageToImageSchema, inpaintSchema].flatMap(flagsOf).map((flag) => [flag.option, flag])).values(),
].map((flag) =>
  flag.option === 'strength' ? { ...flag, fallback: undefined, description: `${flag.description} Default: 0.8, with --mask 1.` } : flag,
)

/** The long spelling of a flag, for messages: `--steps`. */
export const longName = (flag: string): string => /--[a-z-]+/.exec(flag)?.[0] ?? flag

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1).replace(/\.$/, '')

function describe({ description, fallback }: Flag): string {
  const shown = fallback === undefined || fallback === false ? '' : ` (default: ${String(fallback)})`
  return `${lower(description)}${shown}`
}

/** Adds the prompt and all flags to the `generate` command. */
export function addGenerateFlags(command: Command): void {
  command.argument('[prompt]', 'what the picture shows, in quotes')
  command
    .optionsGroup('Model and files:')
    .option('-m, --model <model>', 'folder, single file, "org/name" of the hub, or the built-in "shapes"', 'shapes')
    .option('-o, --out <path>', 'file (.png, .jpg, .webp) or folder/ to write to (default: out/PROMPT-SEED.png)')
    .addOption(new Option('--output <path>').hideHelp())
  addHubFlags(command)
    .option('--variant <name>', 'weights variant of the model folder, such as fp16')
    .option('--config <folder>', 'configs of a single file, where its keys do not tell')
    .addOption(new Option('--dtype <type>', 'type that the weights are kept in').choices(['f32', 'f16', 'bf16', 'int8', 'fast', 'auto']))
    .option('--device <name>', 'cpu, cuda or cuda:N (default: cpu)')
    .option('--threads <number>', 'threads for the work (default: one per physical core)')
    .optionsGroup('Picture:')
  for (const flag of generateFlags) {
    command.addOption(new Option(flag.flag, describe(flag)))
    for (const alias of aliases[flag.option] ?? []) {
      command.addOption(new Option(`${alias} <value>`).hideHelp())
    }
  }
  command
    .option('--from <picture>', 'take all options from the metadata of a picture; flags win')
    .option('--styles <names>', 'styles to put around the prompt, by name, separated by commas; from --styles-file')
    .option('--styles-file <file>', 'styles.csv of stable-diffusion-webui')
    .option('--wildcards <folder>', 'choose among {a|b}, and lines of the files NAME.txt in this folder for __NAME__')
  addAdapterFlags(command.optionsGroup('LoRA and textual inversion:'))
  addConditionFlags(command.optionsGroup('ControlNet and image prompts:'))
  addRefinerFlags(command.optionsGroup('SDXL’s refiner:'))
  addHiresFlags(command.optionsGroup('Larger pictures:'))
  addUpscaleFlags(command)
  addVideoFlags(command.optionsGroup('Video:'))
  command
    .optionsGroup('Output:')
    .option('--grid', 'also write all pictures as one grid')
    .option('--preview <every>', 'also write what the model predicts after every n-th step')
    .option('--no-metadata', 'do not write prompt, seed and settings into the files')
    .option('--json', 'print one JSON object to stdout; progress stays on stderr')
    .option('-q, --quiet', 'no progress')
}
