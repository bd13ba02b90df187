import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Conditions, Measurement } from './measure.ts'

/** What `--json` of benches/main.ts writes. */
export type Report = {
  conditions: Conditions
  peaks: { f32: number; bf16: number; int8: number; read: number; copy: number }
  results: Measurement[]
}

/** Runs benches/main.ts in a process of its own, so that its peak memory is its own too. */
export async function bench(...args: string[]): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-bench-'))
  const json = join(folder, 'report.json')
  try {
    const main = fileURLToPath(new URL('main.ts', import.meta.url))
    await promisify(execFile)(process.execPath, [...process.execArgv, main, ...args, '--json', json], { maxBuffer: 2 ** 26 })
    return JSON.parse(await readFile(json, 'utf8')) as Report
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** A table in Markdown. */
export function markdown(rows: readonly (readonly (string | number)[])[]): string {
  const lines = rows.map((row) => `| ${row.join(' | ')} |`)
  const [head = '', ...body] = lines
  return [head, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`, ...body].join('\n')
}
