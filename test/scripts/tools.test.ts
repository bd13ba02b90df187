import { spawn } from 'node:child_process'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const root = fileURLToPath(new URL('../../', import.meta.url))
const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-tools-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

/** Runs the check for native tools on a machine that has only these programs, each printing its version. */
async function check(name: string, programs: Record<string, string>): Promise<{ code: number | null; stderr: string }> {
  const folder = join(scratch, name)
  await mkdir(folder)
  for (const [program, version] of Object.entries(programs)) {
    await writeFile(join(folder, program), `#!/bin/sh\necho "${program} ${version} (x 2026)"\n`)
    await chmod(join(folder, program), 0o755)
  }
  const script = `import(${JSON.stringify(`${root}scripts/tools.mjs`)}).then((tools) => tools.requireNativeTools())`
  const env = { PATH: `${folder}:/bin/nowhere`, HOME: folder, CARGO_HOME: folder }
  const child = spawn(process.execPath, ['-e', script], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, stderr })))
}

const posix = process.platform === 'win32' ? test.skip : test

posix('a missing or too old tool gets a sentence that says what to install and how', async (t) => {
  const none = await check('none', {})
  t.is(none.code, 1)
  t.regex(none.stderr, /^Rust 1\.89 or newer is needed .* cargo was not found: install Rust with `curl .*rustup.*\n$/)
  const old = await check('old', { cargo: '1.75.0', rustc: '1.75.0' })
  t.regex(old.stderr, /this is cargo 1\.75\.0: run `rustup update stable`/)
  const bare = await check('bare', { cargo: '1.89.0', rustc: '1.95.1' })
  t.regex(bare.stderr, /^A C compiler is needed .*: install one with .*\n$/)
  const ready = await check('ready', { cargo: '2.0.0', rustc: '1.89.0', cc: '12.2.0' })
  t.deepEqual(ready, { code: 0, stderr: '' })
})
