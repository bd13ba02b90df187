import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { type NativeRecord, native } from '../ts/native.ts'

/** One measured thing: times of all runs in milliseconds, sorted, and what else a run took. */
export type Measurement = {
  name: string
  what: string
  medianMs: number
  minMs: number
  runs: number[]
  /** User and system time of all threads, the least of the runs. */
  cpuMs: number
  /** Floating point operations of one run by the direct method, in billions; 0 where nothing of ours counts. */
  gflop: number
  /** Pages mapped in one run, the median. */
  faults: number
  /** Most memory of the process while it ran, in bytes. */
  peakBytes: number
  /** Of it what belongs to no file, sampled every 20 ms; 0 where the system does not tell. */
  anonBytes: number
  /** What each operation of one more run took, if that was asked for. */
  profile?: NativeRecord[]
}

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

/** Lets a new peak of resident memory begin, where the system can (Linux). */
export function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    // The peak then is that of the whole process.
  }
}

/** A line of the system's book on this process, in bytes; nothing where it keeps none (Linux does). */
function status(name: 'VmHWM' | 'RssAnon'): number | undefined {
  try {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  } catch {
    return undefined
  }
}

/** The most resident memory since `resetPeak`, in bytes. */
export function peakBytes(): number {
  return status('VmHWM') ?? process.resourceUsage().maxRSS * 1024
}

/** Watches memory that belongs to no file, which has no peak in the system's book; the answer ends it and tells the most, in bytes. */
export function watchAnonymous(): () => number {
  let most = status('RssAnon') ?? 0
  const look = (): void => {
    most = Math.max(most, status('RssAnon') ?? 0)
  }
  const timer = setInterval(look, 20)
  return () => {
    clearInterval(timer)
    look()
    return most
  }
}

function middle(sorted: readonly number[]): number {
  const half = sorted.length / 2
  return ((sorted[Math.floor(half)] ?? 0) + (sorted[Math.ceil(half) - 1] ?? 0)) / 2
}

/** Runs `work` once to warm up, while its operations are counted, then `runs` times, and once more for the profile; with 0 runs the first one is measured. */
export async function measure(
  name: string,
  what: string,
  { runs, profile }: { runs: number; profile: boolean },
  work: () => Promise<unknown>,
): Promise<Measurement> {
  resetPeak()
  const anonymous = watchAnonymous()
  const times: number[] = []
  const faults: number[] = []
  let cpuMs = Infinity
  const timed = async (): Promise<void> => {
    const before = process.resourceUsage()
    const started = performance.now()
    await work()
    times.push(performance.now() - started)
    const after = process.resourceUsage()
    faults.push(after.minorPageFault - before.minorPageFault)
    cpuMs = Math.min(cpuMs, (after.userCPUTime - before.userCPUTime + after.systemCPUTime - before.systemCPUTime) / 1e3)
  }
  native.startProfile()
  await (runs === 0 ? timed() : work())
  const gflop = native.stopProfile().reduce((sum, record) => sum + record.flops, 0) / 1e9
  for (let i = 0; i < runs; i += 1) await timed()
  const sorted = times.toSorted((a, b) => a - b)
  const [peak, anonBytes] = [peakBytes(), anonymous()]
  let records: NativeRecord[] | undefined
  if (profile) {
    native.startProfile()
    await work()
    records = native.stopProfile()
  }
  return {
    name,
    what,
    medianMs: middle(sorted),
    minMs: sorted[0] ?? 0,
    runs: sorted,
    cpuMs,
    gflop,
    faults: middle(faults.sort((a, b) => a - b)),
    peakBytes: peak,
    anonBytes,
    profile: records,
  }
}
