import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { mark } from './program-runner.ts'

/** The repository's root folder. */
export const root: string = fileURLToPath(new URL('../', import.meta.url))

/** One TypeScript program of this repository, its arguments and the folder to run in. */
export type Program = { file: string; args: readonly string[]; cwd: string }

/** What a program printed, and what it threw. */
export type Finished = { output: string; error: string | undefined }

/**
 * Starts programs in one child process, one after the other, with the sources in ts/ behind the name 'node-diffusion'; starting Node for each would take longer
 * than most of them. Gives a promise for each.
 */
export function runPrograms(programs: readonly Program[]): Promise<Finished>[] {
  const settle: ((finished: Finished) => void)[] = []
  const promises = programs.map(() => new Promise<Finished>((resolve) => settle.push(resolve)))
  const runner = fileURLToPath(new URL('program-runner.ts', import.meta.url))
  const env = { ...process.env, TSX_TSCONFIG_PATH: `${root}tsconfig.json` }
  const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), runner, JSON.stringify(programs)], { cwd: root, env })
  let output = ''
  let done = 0
  child.stderr.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (!line.startsWith(mark)) {
      output += `${line}\n`
      return
    }
    const { error } = JSON.parse(line.slice(mark.length)) as { error?: string }
    settle[done]?.({ output, error })
    done += 1
    output = ''
  })
  child.on('close', (code, signal) => {
    for (const resolve of settle.slice(done)) {
      resolve({ output, error: `the process ended with ${signal ?? `exit code ${code}`} before this program had finished` })
    }
  })
  return promises
}
