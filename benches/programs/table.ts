/**
 * The table of whole models in docs/performance.md: `npm run bench -- table [--architecture sd15] [--size 512] [--runs 3] [--steps 20] [--threads N]
 * [--only unet] [--json FILE]`. Each line is a process of its own.
 */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { bench, markdown, type Report } from '../child.ts'

const { values } = parseArgs({
  options: {
    architecture: { type: 'string', default: 'sd15' },
    size: { type: 'string', default: '512' },
    runs: { type: 'string', default: '3' },
    steps: { type: 'string', default: '20' },
    threads: { type: 'string' },
    only: { type: 'string', default: '' },
    json: { type: 'string' },
  },
})

/** What is measured, in which precisions. */
const LINES: readonly (readonly [string, string])[] = [
  ['unet', 'f32'],
  ['unet', 'f16'],
  ['unet', 'bf16'],
  ['unet', 'int8'],
  ['vae', 'f32'],
  ['vae', 'bf16'],
  ['clip', 'f32'],
  ['clip', 'bf16'],
  ['load', 'f32'],
  ['load', 'f16'],
  ['e2e', 'f32'],
  ['e2e', 'f16'],
]

const threads = values.threads === undefined ? [] : ['--threads', values.threads]
const { architecture, size, steps } = values
const reports: (Report & { work: string; dtype: string })[] = []
for (const [work, dtype] of LINES.filter(([work]) => work.includes(values.only))) {
  const runs = work === 'e2e' ? '1' : values.runs
  const report = await bench(
    work,
    '--architecture',
    architecture,
    '--size',
    size,
    '--dtype',
    dtype,
    '--runs',
    runs,
    '--steps',
    steps,
    ...threads,
  )
  reports.push({ ...report, work, dtype })
  console.error(`${work} ${dtype}: ${report.results.map(({ minMs }) => `${minMs.toFixed(0)} ms`).join(', ')}`)
}

const rows = reports.flatMap(({ dtype, conditions, peaks, results }) =>
  results.map(({ name, what, minMs, medianMs, cpuMs, gflop, faults, peakBytes }) => [
    `${name}, ${dtype}`,
    minMs.toFixed(0),
    medianMs.toFixed(0),
    cpuMs === 0 ? '' : (cpuMs / conditions.threads).toFixed(0),
    gflop === 0 ? '' : ((1e3 * gflop) / minMs).toFixed(0),
    gflop === 0 ? '' : `${((1e5 * gflop) / minMs / peaks.f32).toFixed(0)} %`,
    faults.toFixed(0),
    (peakBytes / 2 ** 20).toFixed(0),
    what,
  ]),
)
const where = reports[0]?.conditions
console.log(
  `${where?.processor}, ${where?.kernels}, ${where?.threads} threads, commit ${where?.commit}${where?.changed ? ' with changes' : ''}, ${where?.date}`,
)
console.log(markdown([['work', 'best ms', 'median ms', 'CPU ms / thread', 'GFLOP/s', 'of f32 peak', 'faults', 'peak MiB', ''], ...rows]))
if (values.json !== undefined) {
  await writeFile(values.json, `${JSON.stringify(reports, null, 2)}\n`)
}
