import { join } from 'node:path'
import { packageBin, setup } from './setup.mjs'
import { root, run, say } from './terminal.mjs'
import { hostTriple, requireNativeTools } from './tools.mjs'

/** `npm run check`: every linter; all of them run, then a summary says which failed. */
await setup({ types: true })
await requireNativeTools()
const target = ['--target', await hostTriple()]
const bin = (name, command = name) => [process.execPath, [packageBin(name, command)]]

const checks = [
  ['rustfmt', 'cargo', ['fmt', '--all', '--check']],
  ['clippy', 'cargo', ['clippy', '--workspace', '--all-targets', '--release', ...target, '--', '-D', 'warnings']],
  ['biome', ...append(bin('@biomejs/biome', 'biome'), ['check', '--error-on-warnings'])],
  ['tsc', ...append(bin('typescript', 'tsc'), ['--noEmit', '-p', join(root, 'tsconfig.json')])],
  ['publint', ...append(bin('publint'), ['--strict'])],
]

function append([command, args], more) {
  return [command, [...args, ...more]]
}

const results = []
for (const [name, command, args] of checks) {
  say(`\n== ${name}`)
  const started = Date.now()
  const { code } = await run(command, args)
  results.push({ name, code, seconds: (Date.now() - started) / 1000 })
}
say('')
for (const { name, code, seconds } of results) say(`${code === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds.toFixed(1)} s)`)
process.exitCode = results.some(({ code }) => code !== 0) ? 1 : 0
