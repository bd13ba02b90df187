import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url))

/** A finished run of the command: exit code, and both outputs apart. */
export type Ended = { code: number | null; stdout: string; stderr: string }

/** A running command: the process, what it wrote to stderr so far, and its end. */
export type Started = { child: ChildProcess; stderr: () => string; ended: Promise<Ended> }

/** Starts `node-diffusion` from dist/ in a folder, as a user does. */
export function start(args: readonly string[], cwd: string, env: Record<string, string> = {}): Started {
  const child = spawn(process.execPath, [cli, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = new Promise<Ended>((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr })))
  return { child, stderr: () => stderr, ended }
}

/** Runs `node-diffusion` to its end. */
export function command(args: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<Ended> {
  return start(args, cwd, env).ended
}
