import type { Command } from 'commander'
import { checkHires, type HiresOptions, type HiresUpscaler, hiresUpscalers } from '../upscale/hires-fix.ts'
import { UsageError } from './exit.ts'

/** The flags of a second pass at a larger size, and the options behind them. */
const FLAGS = {
  hiresScale: { flag: '--hires-scale <number>', option: 'scale', description: 'work the picture over at so many times its size' },
  hiresUpscaler: {
    flag: '--hires-upscaler <name>',
    option: 'upscaler',
    description: `how it is enlarged: ${Object.keys(hiresUpscalers).join(', ')}`,
  },
  hiresStrength: {
    flag: '--hires-strength <number>',
    option: 'denoisingStrength',
    description: 'how much the second pass may change, 0 to 1 (default: 0.7)',
  },
  hiresSteps: { flag: '--hires-steps <number>', option: 'steps', description: 'steps of the second pass (default: as many as the first)' },
} as const

/** Adds the flags to `generate`. */
export function addHiresFlags(command: Command): void {
  for (const { flag, description } of Object.values(FLAGS)) {
    command.option(flag, description)
  }
}

/** The second pass that the flags ask for; throws `UsageError` that names the flag of a bad value. */
export function readHires(flags: Record<string, unknown>, task: string): HiresOptions | undefined {
  const given = Object.entries(FLAGS).filter(([name]) => flags[name] !== undefined)
  const [first] = given
  if (first === undefined) {
    return undefined
  }
  if (task !== 'textToImage') {
    throw new UsageError(`${first[1].flag.split(' ')[0]} can be used only without --image`)
  }
  const values = given.map(([name, { option }]) => [option, option === 'upscaler' ? (flags[name] as HiresUpscaler) : Number(flags[name])])
  try {
    return checkHires(Object.fromEntries(values) as HiresOptions)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    const bad = Object.values(FLAGS).find(({ option }) => message.includes(`hires.${option} `))
    throw new UsageError(bad === undefined ? message : message.replace(`hires.${bad.option} `, `${bad.flag.split(' ')[0]} `))
  }
}
