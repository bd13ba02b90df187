import { table } from '../ts/cli/table.ts'
import type { NativeRecord } from '../ts/native.ts'
import type { Measurement } from './measure.ts'

const MIB = 2 ** 20

/** Rate of `gflop` in `ms`, and its share of the machine's f32 peak; Winograd and int8 may exceed it. */
function rate(gflop: number, ms: number, peak: number): [string, string] {
  const speed = (gflop * 1e3) / ms
  return gflop === 0 ? ['', ''] : [speed.toFixed(0), `${((100 * speed) / peak).toFixed(0)} %`]
}

/** One line for each measurement. "cpu / thread" is the time that the run would take if nothing else used the cores. */
export function summary(results: readonly Measurement[], threads: number, peak: number): string {
  const rows = results.map(({ name, medianMs, minMs, cpuMs, gflop, faults, peakBytes, anonBytes, runs, what }) => {
    const cpu = cpuMs / threads
    return [
      name,
      medianMs.toFixed(1),
      minMs.toFixed(1),
      cpu === 0 ? '' : cpu.toFixed(1),
      ...rate(gflop, minMs, peak),
      cpu === 0 ? '' : (rate(gflop, cpu, peak)[1] ?? ''),
      faults.toFixed(0),
      (peakBytes / MIB).toFixed(0),
      (anonBytes / MIB).toFixed(0),
      runs.length,
      what,
    ]
  })
  const heads = [
    '',
    'median ms',
    'best ms',
    'cpu / thread ms',
    'GFLOP/s',
    'of peak',
    'by cpu',
    'faults',
    'peak MiB',
    'without files',
    'runs',
    '',
  ]
  return table([heads, ...rows]).join('\n')
}

/** Where the time of one run went: by kind, then by shape, each summing to the whole. */
export function profileTable(records: readonly NativeRecord[], threads: number, peak: number): string {
  const whole = records.reduce((sum, record) => sum + record.seconds, 0)
  const line = (first: string, second: string, group: readonly NativeRecord[]): (string | number)[] => {
    const sum = (key: 'calls' | 'seconds' | 'cpuSeconds' | 'flops' | 'faults'): number =>
      group.reduce((total, record) => total + record[key], 0)
    const [seconds, cpu] = [sum('seconds'), sum('cpuSeconds') / threads]
    return [
      first,
      second,
      sum('calls'),
      (1e3 * seconds).toFixed(1),
      `${((100 * seconds) / whole).toFixed(1)} %`,
      (1e3 * cpu).toFixed(1),
      ...rate(sum('flops') / 1e9, 1e3 * cpu, peak),
      sum('faults'),
    ]
  }
  const kinds = [...new Set(records.map((record) => record.kind))]
  const heads = ['', '', 'calls', 'ms', 'of all', 'cpu / thread ms', 'GFLOP/s', 'of peak', 'faults']
  const byKind = kinds.map((kind) =>
    line(
      kind,
      '',
      records.filter((record) => record.kind === kind),
    ),
  )
  const byShape = records.map((record) => line(record.kind, record.shape, [record]))
  const all = line('all', '', records)
  return [...table([heads, ...byKind, all]), '', ...table([heads, ...byShape, all])].join('\n')
}
