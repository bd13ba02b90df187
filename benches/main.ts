/**
 * Measures whole models: `npm run bench -- [e2e|unet|vae|clip|load ...] [--model DIR] [--steps N] [--runs N] [--size PX] [--batch N]
 * [--scheduler NAME] [--dtype f32|f16|bf16] [--threads N] [--json FILE]`. README.md says how to read the numbers.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { table } from '../ts/cli/table.ts'
import { native } from '../ts/native.ts'
import { conditions, type Measurement } from './measure.ts'
import { type BenchOptions, benches } from './models.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'shapes' },
    steps: { type: 'string', default: '25' },
    runs: { type: 'string', default: '5' },
    size: { type: 'string' },
    batch: { type: 'string', default: '1' },
    scheduler: { type: 'string', default: 'DPM++ 2M' },
    dtype: { type: 'string', default: 'f32' },
    threads: { type: 'string' },
    json: { type: 'string' },
  },
})

function whole(name: string, text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new Error(`Expected a whole number of at least 1 for --${name} but received ${JSON.stringify(text)}`)
  }
  return value
}

const options: BenchOptions = {
  model: values.model,
  steps: whole('steps', values.steps),
  runs: whole('runs', values.runs),
  size: values.size === undefined ? undefined : whole('size', values.size),
  batch: whole('batch', values.batch),
  scheduler: values.scheduler,
  dtype: values.dtype as BenchOptions['dtype'],
}
const chosen = positionals.length === 0 ? Object.keys(benches) : positionals
const unknown = chosen.find((name) => !(name in benches))
if (unknown !== undefined) {
  throw new Error(`Expected ${Object.keys(benches).join(', ')} for the bench but received ${JSON.stringify(unknown)}`)
}
if (values.threads !== undefined) {
  native.setThreads(whole('threads', values.threads))
}

const where = conditions()
console.log(
  `${where.processor}, ${where.kernels}, ${where.threads} threads, commit ${where.commit}${where.changed ? ' with changes' : ''}, model ${options.model}, ${options.dtype}`,
)
const results: Measurement[] = []
for (const name of chosen) {
  results.push(...((await benches[name]?.(options)) ?? []))
}
const rows = results.map(({ name, what, medianMs, minMs, runs }) => [name, medianMs.toFixed(1), minMs.toFixed(1), runs.length, what])
for (const line of table([['', 'median ms', 'best ms', 'runs', ''], ...rows])) {
  console.log(line)
}
if (values.json !== undefined) {
  await mkdir(dirname(values.json), { recursive: true })
  await writeFile(values.json, `${JSON.stringify({ conditions: where, options, results }, null, 2)}\n`)
}
