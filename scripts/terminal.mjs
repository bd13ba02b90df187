import { spawn } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The repository's root, from which every command of these scripts runs. */
export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..')

/** Prints one line about what a script is doing, apart from what it was asked for, so on stderr. */
export function say(line) {
  process.stderr.write(`${line}\n`)
}

/** Ends the script with a sentence for the user. */
export function fail(sentence) {
  say(sentence)
  process.exit(1)
}

/**
 * Runs a command from the root and resolves to `{ code, output }`; code 127 means that there is no such command.
 * Options: `echo` 'all' (default: shown while it runs) or 'none' (kept only), `onLine` gets each line of stdout, `env` is added to the environment.
 */
export function run(command, args, { echo = 'all', env = {}, onLine } = {}) {
  return new Promise((settle) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    let rest = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      output += chunk
      if (echo === 'all') process.stdout.write(chunk)
      const lines = (rest + chunk).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) onLine?.(line)
    })
    child.stderr.setEncoding('utf8').on('data', (chunk) => {
      output += chunk
      if (echo === 'all') process.stderr.write(chunk)
    })
    child.on('error', (error) => settle({ code: 127, output: error.message }))
    child.on('close', (code, signal) => {
      if (rest !== '') onLine?.(rest)
      settle({ code: code ?? (signal === 'SIGINT' ? 130 : 1), output })
    })
  })
}

/** Runs a command with the terminal handed to it (progress bars, colours, Ctrl-C) and resolves to its exit code. */
export function attach(command, args, env = {}) {
  return new Promise((settle) => {
    const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: 'inherit' })
    const wait = () => {}
    process.on('SIGINT', wait)
    child.on('error', () => settle(127))
    child.on('close', (code, signal) => {
      process.off('SIGINT', wait)
      settle(code ?? (signal === 'SIGINT' ? 130 : 1))
    })
  })
}
