import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, isAbsolute, join } from 'node:path'
import { setup } from './setup.mjs'
import { fail, root, run, say } from './terminal.mjs'
import { hostTriple, requireNativeTools } from './tools.mjs'

/**
 * `npm run parity [-- area ...]`: every case of the golden pack (PARITY_DIR, else ../shared/parity, else test/fixtures/parity) against this build.
 * Prints failed and uncovered cases by name, then one line for each area: `parity models: 120 cases, 118 passed, 0 failed, 2 not covered, worst 0.31 of tolerance`.
 */
const rustAreas = ['tokenizer', 'rng', 'models']
const typescriptAreas = ['schedulers', 'pipelines', 'prompts', 'weights']

function packFolder() {
  const given = process.env.PARITY_DIR
  const candidates = given
    ? [isAbsolute(given) ? given : join(root, given)]
    : [join(root, '..', 'shared', 'parity'), join(root, 'test', 'fixtures', 'parity')]
  const found = candidates.find((folder) => existsSync(folder))
  return (
    found ??
    fail(
      `Expected a folder of golden values for PARITY_DIR but received ${given ?? 'none, and neither ../shared/parity nor test/fixtures/parity exists'}.`,
    )
  )
}

const summary = (area) => new RegExp(`^parity ${area}: .*?(\\d+) failed`)

/** Shows an area's lines, keeps its summary for the end and says whether it passed. */
function collect(area, command, args, env) {
  let line
  const result = run(command, args, {
    echo: 'none',
    env,
    onLine(printed) {
      const text = printed.replace(/^test \S+ \.\.\. /, '') // cargo test leaves its own line open while the test prints
      if (summary(area).test(text)) line = text
      else if (/^(failed|not covered) /.test(text)) process.stdout.write(`${text}\n`)
    },
  })
  return result.then(({ code, output }) => {
    if (line === undefined) {
      say(output.split('\n').slice(-30).join('\n'))
      return { line: `parity ${area}: no result (exit code ${code})`, passed: false }
    }
    return { line, passed: Number(summary(area).exec(line)?.[1]) === 0 && code === 0 }
  })
}

const wanted = process.argv.slice(2)
const chosen = (area) => wanted.length === 0 || wanted.includes(area)
const unknown = wanted.find((area) => ![...rustAreas, ...typescriptAreas].includes(area))
if (unknown) fail(`Expected ${[...rustAreas, ...typescriptAreas].join(', ')} for area but received ${JSON.stringify(unknown)}.`)

await setup()
const env = { PARITY_DIR: packFolder() }
const results = []
for (const area of rustAreas.filter(chosen)) {
  await requireNativeTools()
  const args = [
    'test',
    '--release',
    '--workspace',
    '--target',
    await hostTriple(),
    '--test',
    `parity_${area}`,
    '--',
    '--nocapture',
    '--test-threads=1',
  ]
  results.push(await collect(area, 'cargo', args, env))
}
const tsx = join(dirname(createRequire(join(root, 'package.json')).resolve('tsx/package.json')), 'dist', 'cli.mjs')
for (const area of typescriptAreas.filter(chosen)) {
  results.push(await collect(area, process.execPath, [tsx, join(root, 'scripts', 'parity-area.ts'), area, env.PARITY_DIR], env))
}
for (const { line } of results) process.stdout.write(`${line}\n`)
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1
