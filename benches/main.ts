/**
 * Measures whole models: `npm run bench -- [e2e|unet|vae|decode|encode|clip|load|lora ...] [options]`. README.md says how to read the numbers.
 *
 * `--size PX` measures Stable Diffusion 1.5 with random weights, `--architecture sd21|sdxl` another one; without them `--model DIR`, by default the
 * built-in model. Further: [--steps N] [--runs N] [--batch N] [--scheduler NAME] [--dtype f32|f16|bf16|int8|fast] [--memory MB] [--rank N] [--threads N] [--profile]
 * [--json FILE]. `--runs 0` measures the first run alone.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { parseArgs } from 'node:util'
import { native } from '../ts/native.ts'
import { conditions, type Measurement } from './measure.ts'
import { type BenchOptions, benches } from './models.ts'
import { ARCHITECTURES } from './open.ts'
import { profileTable, summary } from './report.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    architecture: { type: 'string' },
    steps: { type: 'string', default: '25' },
    runs: { type: 'string', default: '5' },
    size: { type: 'string' },
    batch: { type: 'string', default: '1' },
    scheduler: { type: 'string', default: 'DPM++ 2M' },
    dtype: { type: 'string', default: 'f32' },
    memory: { type: 'string' },
    rank: { type: 'string', default: '32' },
    threads: { type: 'string' },
    profile: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
})

function whole(name: string, text: string, least = 1): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least) {
    throw new Error(`Expected a whole number of at least ${least} for --${name} but received ${JSON.stringify(text)}`)
  }
  return value
}

function one(name: string, text: string, known: readonly string[]): string {
  if (!known.includes(text)) {
    throw new Error(`Expected ${known.join(', ')} for ${name} but received ${JSON.stringify(text)}`)
  }
  return text
}

const isPublished = values.model === undefined && (values.size ?? values.architecture) !== undefined
const options: BenchOptions = {
  model: values.model ?? 'shapes',
  architecture: isPublished ? one('--architecture', values.architecture ?? 'sd15', ARCHITECTURES) : undefined,
  steps: whole('steps', values.steps),
  runs: whole('runs', values.runs, 0),
  size: values.size === undefined ? undefined : whole('size', values.size),
  batch: whole('batch', values.batch),
  scheduler: values.scheduler,
  dtype: values.dtype as BenchOptions['dtype'],
  memory: values.memory === undefined ? undefined : whole('memory', values.memory) * 1e6,
  rank: whole('rank', values.rank),
  profile: values.profile,
}
const usual = ['e2e', 'unet', 'vae', 'clip', 'load', 'lora']
const chosen = positionals.length === 0 ? usual : positionals.map((name) => one('the bench', name, Object.keys(benches)))
if (values.threads !== undefined) {
  native.setThreads(whole('threads', values.threads))
}

const where = conditions()
const peaks = await native.machinePeaks(new native.NativeCancelToken())
const commit = `commit ${where.commit}${where.changed ? ' with changes' : ''}`
console.log(
  `${where.processor}, ${where.kernels}, ${where.threads} threads, ${commit}, ${options.architecture ?? options.model}, ${options.dtype}`,
)
console.log(
  `this machine now: f32 ${peaks.f32.toFixed(0)} GFLOP/s, ${peaks.bf16 === 0 ? 'no bf16 products' : `bf16 ${peaks.bf16.toFixed(0)} GFLOP/s`}, ` +
    `${peaks.int8 === 0 ? 'no int8 products' : `int8 ${peaks.int8.toFixed(0)} GOP/s`}, memory reads ${peaks.read.toFixed(1)} GB/s, copies ${peaks.copy.toFixed(1)} GB/s`,
)
const results: Measurement[] = []
for (const name of chosen) {
  results.push(...((await benches[name]?.(options)) ?? []))
}
console.log(summary(results, where.threads, peaks.f32))
for (const { name, profile } of results) {
  if (profile !== undefined) {
    console.log(`\n${name}\n${profileTable(profile, where.threads, peaks.f32)}`)
  }
}
if (values.json !== undefined) {
  await mkdir(dirname(values.json), { recursive: true })
  await writeFile(values.json, `${JSON.stringify({ conditions: where, peaks, options, results }, null, 2)}\n`)
}
