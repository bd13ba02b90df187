/**
 * The table of whole models in docs/performance.md, each line a process of its own and printed when it is there:
 * `npm run bench -- table [--size 512] [--steps 4] [--threads N] [--only unet,e2e] [--minutes 6] [--json FILE]`.
 *
 * The most telling lines come first. What does not begin within the minutes is left out and named; with `--json` a second run goes on where the first ended.
 */
import { parseArgs } from 'node:util'
import { bench, markdown, Notebook, type Report, reason } from '../child.ts'
import type { Measurement } from '../measure.ts'

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '512' },
    steps: { type: 'string', default: '4' },
    threads: { type: 'string' },
    only: { type: 'string' },
    minutes: { type: 'string', default: '6' },
    json: { type: 'string' },
  },
})

/** What is measured, and how often after one run to warm up; 0 measures the first run alone, as a program that makes one picture has it. */
type Line = { work: string; dtype: string; runs: number; architecture?: string; memory?: number; steps?: number }

/** The limit in MB under which a run of half floats takes direct convolutions and small tiles. */
const TIGHT = 2850

const LINES: readonly Line[] = [
  { work: 'unet', dtype: 'f32', runs: 2 },
  { work: 'unet', dtype: 'int8', runs: 2 },
  { work: 'unet', dtype: 'fast', runs: 2 },
  { work: 'unet', dtype: 'bf16', runs: 1 },
  { work: 'decode', dtype: 'f32', runs: 2 },
  { work: 'clip', dtype: 'f32', runs: 5 },
  { work: 'load', dtype: 'f16', runs: 1 },
  { work: 'e2e', dtype: 'bf16', runs: 0 },
  { work: 'e2e', dtype: 'f32', runs: 0 },
  { work: 'e2e', dtype: 'bf16', runs: 0, memory: TIGHT, steps: 1 },
  { work: 'decode', dtype: 'bf16', runs: 1 },
  { work: 'clip', dtype: 'bf16', runs: 5 },
  { work: 'load', dtype: 'f32', runs: 1 },
  { work: 'e2e', dtype: 'int8', runs: 0 },
  { work: 'encode', dtype: 'f32', runs: 1 },
  { work: 'unet', dtype: 'f16', runs: 1 },
]
/** Only when asked for by name: a step of SDXL at 1024 pixels takes a minute. */
const ON_REQUEST: readonly Line[] = [
  { work: 'e2e', dtype: 'f16', runs: 0, architecture: 'sdxl', steps: 2 },
  { work: 'unet', dtype: 'f16', runs: 0, architecture: 'sdxl' },
]

/** How `--only` names a line, or a group of them by its first words. */
function nameOf({ work, dtype, architecture, memory }: Line): string {
  return [architecture, work, dtype, memory === undefined ? undefined : 'tight'].filter((word) => word !== undefined).join(' ')
}

function argsOf({ work, dtype, runs, architecture = 'sd15', memory, steps }: Line): string[] {
  const size = architecture === 'sdxl' ? '1024' : values.size
  const optional = { memory: memory?.toString(), threads: values.threads }
  const pairs = { architecture, size, dtype, runs: String(runs), steps: steps?.toString() ?? values.steps, ...optional }
  return [work, ...Object.entries(pairs).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, value]))]
}

const MIB = 2 ** 20
const HEADS = ['work', 'best ms', 'median ms', 'CPU ms / thread', 'GFLOP/s', 'of f32 peak', 'faults', 'peak MiB', 'without files', '']

function row(line: Line, { conditions, peaks }: Report, measured: Measurement): string[] {
  const { name, what, minMs, medianMs, cpuMs, gflop, faults, peakBytes, anonBytes } = measured
  return [
    `${name}, ${line.dtype}${line.architecture === undefined ? '' : `, ${line.architecture}`}`,
    minMs.toFixed(0),
    medianMs.toFixed(0),
    cpuMs === 0 ? '' : (cpuMs / conditions.threads).toFixed(0),
    gflop === 0 ? '' : ((1e3 * gflop) / minMs).toFixed(0),
    gflop === 0 ? '' : `${((1e5 * gflop) / minMs / peaks.f32).toFixed(0)} %`,
    faults.toFixed(0),
    (peakBytes / MIB).toFixed(0),
    (anonBytes / MIB).toFixed(0),
    what,
  ]
}

const only = values.only?.split(',')
const isAsked = (line: Line): boolean => only?.some((words) => nameOf(line).startsWith(words)) ?? true
const lines = [...LINES, ...(only === undefined ? [] : ON_REQUEST)].filter(isAsked)
const notes = await Notebook.open<Report>(values.json)
let isFirst = true
for (const line of lines) {
  const name = nameOf(line)
  const before = notes.get(name)
  if (before === undefined && process.uptime() > 60 * Number(values.minutes)) {
    console.log(`${name}: left out, the ${values.minutes} minutes are over`)
    continue
  }
  const report = before ?? (await bench(argsOf(line)).catch((error: Error) => error))
  if (report instanceof Error) {
    console.log(`${name}: failed: ${reason(report)}`)
    continue
  }
  if (isFirst) {
    isFirst = false
    const { processor, kernels, threads, commit, changed, date } = report.conditions
    console.log(`${processor}, ${kernels}, ${threads} threads, commit ${commit}${changed ? ' with changes' : ''}, ${date}\n`)
    console.log(markdown([HEADS]))
  }
  await notes.put(name, report)
  for (const measured of report.results) {
    console.log(`| ${row(line, report, measured).join(' | ')} |`)
  }
}
