import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { checkInteger } from '../checks.ts'
import { resolveScheduler, schedulers } from '../schedulers/resolve.ts'
import { Scheduler } from '../schedulers/scheduler.ts'
import { note, print, printJson, UsageError } from './exit.ts'
import { table } from './table.ts'

type Point = { timestep: number; sigma: number }

const barWidth = 40

function list(): void {
  const rows = schedulers.list().map(({ className, order, stochastic, names }) => {
    const noise = stochastic === false ? 'no' : stochastic === true ? 'yes' : `with ${stochastic}`
    return [className, order, noise, names.map(({ name }) => name).join(', ')]
  })
  for (const line of table([['class', 'calls', 'noise', 'names in other programs'], ...rows])) {
    print(line)
  }
}

/** Noise level (k-diffusion's sigma) of every step: the scheduler's own, else `sqrt((1 - a) / a)` of its timestep. */
function points(scheduler: Scheduler): Point[] {
  const { timesteps, sigmas } = scheduler
  const alphas = sigmas.length > 0 ? [] : scheduler.alphasCumprod
  return timesteps.map((timestep, i) => {
    const alpha = alphas[Math.round(timestep)] ?? 1
    return { timestep, sigma: sigmas[i] ?? Math.sqrt((1 - alpha) / alpha) }
  })
}

/** Length of each bar from 0 to 1, on a logarithmic scale. */
function lengths(levels: readonly Point[]): number[] {
  const logs = levels.map(({ sigma }) => Math.log(Math.max(sigma, 1e-3)))
  const low = Math.min(...logs)
  const span = Math.max(...logs) - low
  return logs.map((value) => (span === 0 ? 1 : (value - low) / span))
}

function bar(length: number): string {
  const eighths = Math.max(1, Math.round(length * barWidth * 8))
  return '█'.repeat(Math.floor(eighths / 8)) + (['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'][eighths % 8] ?? '')
}

function svg(name: string, levels: readonly Point[]): string {
  const [width, height, margin] = [640, 320, 40]
  const at = (i: number, length: number): string => {
    const x = margin + ((width - 2 * margin) * i) / Math.max(1, levels.length - 1)
    return `${x.toFixed(1)},${(height - margin - (height - 2 * margin) * length).toFixed(1)}`
  }
  const dots = lengths(levels).map((length, i) => at(i, length))
  const marks = dots.map((dot, i) => {
    const [x, y] = dot.split(',')
    return `<circle cx="${x}" cy="${y}" r="3"><title>step ${i + 1}: sigma ${levels[i]?.sigma.toPrecision(4)}</title></circle>`
  })
  const title = `<text x="${margin}" y="24" font-family="sans-serif" font-size="14">${name}: sigma (logarithmic) over ${levels.length} steps</text>`
  const line = `<polyline fill="none" stroke="black" points="${dots.join(' ')}"/>`
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="white"/>${title}${line}${marks.join('')}</svg>\n`
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
  scheduler.setTimesteps(steps)
  const levels = points(scheduler)
  if (typeof flags.svg === 'string') {
    const path = resolve(flags.svg)
    await writeFile(path, svg(String(scheduler.config._class_name), levels))
    note(`Wrote ${path}`)
  }
  if (flags.json) {
    printJson({
      className: scheduler.config._class_name,
      config: scheduler.config,
      timesteps: scheduler.timesteps,
      sigmas: levels.map(({ sigma }) => sigma),
    })
    return
  }
  print(`${String(scheduler.config._class_name)}, ${steps} steps, ${levels.length} model calls`)
  const bars = lengths(levels).map(bar)
  const rows = levels.map(({ timestep, sigma }, i) => [i + 1, Number(timestep.toFixed(3)), sigma.toPrecision(5), bars[i] ?? ''])
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
