import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setup } from './setup.mjs'
import { root, run, say } from './terminal.mjs'
import { hostTriple, requireNativeTools } from './tools.mjs'

/** `npm test`: the tests of both languages; closes with `N passed, N failed` and fails on any failure or when nothing ran. */
const sum = { passed: 0, failed: 0, skipped: 0 }

async function rustTests() {
  await requireNativeTools()
  let results = 0
  const { code } = await run('cargo', ['test', '--release', '--workspace', '--no-fail-fast', '--target', await hostTriple()], {
    onLine(line) {
      const result = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/.exec(line)
      if (result === null) return
      results += 1
      sum.passed += Number(result[1])
      sum.failed += Number(result[2])
      sum.skipped += Number(result[3])
    },
  })
  if (code !== 0 && (results === 0 || sum.failed === 0)) {
    say(`cargo test ended with exit code ${code} without a failed test: counted as one failure.`)
    sum.failed += 1
  }
}

async function typescriptTests(files) {
  const require = createRequire(join(root, 'package.json'))
  const cli = join(dirname(require.resolve('ava')), 'cli.mjs') // ava exports neither its CLI nor its package.json
  const counted = { pass: 0, fail: 0, skip: 0 }
  const { code } = await run(process.execPath, [cli, '--tap', ...files], {
    onLine(line) {
      const result = /^# (pass|fail|skip) (\d+)$/.exec(line)
      if (result) counted[result[1]] = Number(result[2])
    },
  })
  sum.passed += counted.pass
  sum.failed += counted.fail
  sum.skipped += counted.skip
  if (code !== 0 && counted.fail === 0) {
    say(`ava ended with exit code ${code} without a failed test: counted as one failure.`)
    sum.failed += 1
  }
}

const args = process.argv.slice(2)
const only = args.find((arg) => arg === 'rust' || arg === 'ts')
await setup()
if (only !== 'ts') await rustTests()
if (only !== 'rust') await typescriptTests(args.filter((arg) => arg !== only))
if (sum.skipped > 0) say(`${sum.skipped} skipped`)
process.exitCode = sum.failed > 0 || sum.passed === 0 ? 1 : 0
process.stdout.write(`\n${sum.passed} passed, ${sum.failed} failed\n`)
