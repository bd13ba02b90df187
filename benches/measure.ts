import { execFileSync } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { native } from '../ts/native.ts'

/** One measured thing: times of all runs in milliseconds, sorted, and the median. */
export type Measurement = { name: string; what: string; medianMs: number; minMs: number; runs: number[] }

/** Where and with what the numbers were made. */
export type Conditions = {
  commit: string
  changed: boolean
  processor: string
  memory: number
  kernels: string
  threads: number
  node: string
  date: string
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return ''
  }
}

/** What belongs beside every number. */
export function conditions(): Conditions {
  const { level, threads } = native.doctor()
  return {
    commit: git('rev-parse', '--short', 'HEAD') || 'unknown',
    changed: git('status', '--porcelain', '--untracked-files=no') !== '',
    processor: `${cpus()[0]?.model.trim() ?? 'unknown'} x ${cpus().length}`,
    memory: totalmem(),
    kernels: level,
    threads,
    node: process.versions.node,
    date: new Date().toISOString(),
  }
}

/** Runs `work` once to warm up and then `runs` times. */
export async function measure(name: string, what: string, runs: number, work: () => Promise<unknown>): Promise<Measurement> {
  await work()
  const times: number[] = []
  for (let i = 0; i < runs; i += 1) {
    const started = performance.now()
    await work()
    times.push(performance.now() - started)
  }
  times.sort((a, b) => a - b)
  const middle = times.length / 2
  const medianMs = ((times[Math.floor(middle)] ?? 0) + (times[Math.ceil(middle) - 1] ?? 0)) / 2
  return { name, what, medianMs, minMs: times[0] ?? 0, runs: times }
}
