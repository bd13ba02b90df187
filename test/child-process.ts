import { execFile } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

/** The repository's root folder. */
export const root: string = fileURLToPath(new URL('../', import.meta.url))

/** What a finished program left: its exit code and both its outputs, in that order. */
export type Finished = { code: number; output: string }

let free = Math.max(1, availableParallelism() - 1)
const waiting: (() => void)[] = []

/**
 * Runs one TypeScript program of this repository in a child process, with the sources in ts/ behind the name 'node-diffusion'.
 * No more programs run at a time than the machine has cores to spare; the rest wait.
 */
export async function runProgram(file: string, args: readonly string[], cwd: string = root): Promise<Finished> {
  if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve))
  else free -= 1
  try {
    return await start(file, args, cwd)
  } finally {
    const next = waiting.shift()
    if (next === undefined) free += 1
    else next()
  }
}

function start(file: string, args: readonly string[], cwd: string): Promise<Finished> {
  const env = { ...process.env, TSX_TSCONFIG_PATH: `${root}tsconfig.json` }
  const tsx = import.meta.resolve('tsx')
  return new Promise((resolve) => {
    const child = execFile(process.execPath, ['--import', tsx, file, ...args], { cwd, env }, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode ?? 1, output: stdout + stderr })
    })
  })
}
