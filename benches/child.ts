import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Conditions, Measurement } from './measure.ts'

/** What `--json` of benches/main.ts writes. */
export type Report = {
  conditions: Conditions
  peaks: { f32: number; bf16: number; int8: number; read: number; copy: number }
  results: Measurement[]
}

/** A child that takes longer is stopped, in milliseconds: what has no fast kernels can take minutes for a step. */
export const LONGEST = 600_000

/** Runs benches/main.ts in a process of its own, so that its peak memory is its own too; `env` stands beside this process's variables. */
export async function bench(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-bench-'))
  const json = join(folder, 'report.json')
  try {
    const main = fileURLToPath(new URL('main.ts', import.meta.url))
    await promisify(execFile)(process.execPath, [...process.execArgv, main, ...args, '--json', json], {
      maxBuffer: 2 ** 26,
      timeout: LONGEST,
      env: { ...process.env, ...env },
    })
    return JSON.parse(await readFile(json, 'utf8')) as Report
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Results by name, written to a file as they come, so that an interrupted program goes on where it stopped. */
export class Notebook<T> {
  readonly #path: string | undefined
  readonly #found: Record<string, T>

  private constructor(path: string | undefined, found: Record<string, T>) {
    this.#path = path
    this.#found = found
  }

  /** With what the file holds already; without a path nothing is kept. */
  static async open<T>(path: string | undefined): Promise<Notebook<T>> {
    const text = path === undefined ? '{}' : await readFile(path, 'utf8').catch(() => '{}')
    return new Notebook(path, JSON.parse(text) as Record<string, T>)
  }

  get(name: string): T | undefined {
    return this.#found[name]
  }

  async put(name: string, value: T): Promise<void> {
    this.#found[name] = value
    if (this.#path !== undefined) {
      await mkdir(dirname(this.#path), { recursive: true })
      await writeFile(this.#path, `${JSON.stringify(this.#found, null, 2)}\n`)
    }
  }
}

/** The line of a failed child's output that says why. */
export function reason({ message }: Error): string {
  const lines = message.trim().split('\n')
  return lines.find((line) => /Error\b/.test(line)) ?? lines.at(-1) ?? message
}

/** A table in Markdown. */
export function markdown(rows: readonly (readonly (string | number)[])[]): string {
  const lines = rows.map((row) => `| ${row.join(' | ')} |`)
  const [head = '', ...body] = lines
  return [head, `|${' --- |'.repeat(rows[0]?.length ?? 0)}`, ...body].join('\n')
}
