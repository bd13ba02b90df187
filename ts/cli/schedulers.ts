import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { checkInteger } from '../checks.ts'
import { resolveScheduler, schedulers } from '../schedulers/resolve.ts'
import { Scheduler } from '../schedulers/scheduler.ts'
import { note, print, printJson, UsageError } from './exit.ts'
import { bars, type Level, sigmaSvg } from './sigma-chart.ts'
import { table } from './table.ts'

function list(): void {
  const all = schedulers.list()
  const rows = all.map(({ className, order, stochastic, names, spacings }) => {
    const noise = stochastic === false ? 'no' : stochastic === true ? 'yes' : `with ${stochastic}`
    return [
      className,
      order,
      noise,
      spacings.length > 0 ? 'yes' : 'no',
      names.flatMap(({ name, aliases }) => [name, ...aliases]).join(', '),
    ]
  })
  for (const line of table([['class', 'calls', 'noise', 'levels', 'names in other programs'], ...rows])) {
    print(line)
  }
  const spacings = new Set(all.flatMap((info) => info.spacings))
  print('')
  print(`Where levels say yes, a name may be followed by one of noise levels: ${[...spacings].join(', ')}.`)
}

/** Every model call of a plan. */
function levelsOf(scheduler: Scheduler, steps: number): Level[] {
  const { timesteps, rows } = scheduler.plan(steps)
  return timesteps.map((timestep, i) => ({ timestep, sigma: rows[i]?.sigma ?? 0 }))
}

/** `schedulers`: the list, or timesteps and noise levels of one as table, bars and SVG. */
export async function schedulersCommand(name: string | undefined, flags: Record<string, unknown>): Promise<void> {
  if (name === undefined) {
    if (flags.json) {
      printJson(schedulers.list())
    } else {
      list()
    }
    return
  }
  const steps = Number(flags.steps)
  checkInteger('--steps', Number.isNaN(steps) ? flags.steps : steps, { min: 1, max: 10_000 })
  const base = await Scheduler.fromPretrained(String(flags.model), { subfolder: 'scheduler' })
  const scheduler = named(name, base)
  const levels = levelsOf(scheduler, steps)
  const className = String(scheduler.config._class_name)
  const title = `${className === name ? name : `${name} (${className})`}, ${steps} steps, ${levels.length} model calls`
  if (typeof flags.svg === 'string') {
    const path = resolve(flags.svg)
    await writeFile(path, sigmaSvg(title, levels))
    note(`Wrote ${path}`)
  }
  if (flags.json) {
    const { timesteps } = scheduler.plan(steps)
    printJson({ className, config: scheduler.config, timesteps, sigmas: levels.map(({ sigma }) => sigma) })
    return
  }
  print(title)
  const marks = bars(levels)
  const rows = levels.map(({ timestep, sigma }, i) => [i + 1, Number(timestep.toFixed(3)), sigma.toPrecision(5), marks[i] ?? ''])
  for (const line of table([['', 'timestep', 'sigma', 'sigma, logarithmic'], ...rows])) {
    print(line)
  }
}

function named(name: string, base: Scheduler): Scheduler {
  try {
    return resolveScheduler(name, base.config)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}
