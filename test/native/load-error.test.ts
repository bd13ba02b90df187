import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import test from 'ava'
import { native } from '../../ts/native.ts'

const run = promisify(execFile)

test('an addon that cannot be loaded is one error that says what was tried and what to do', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-load-'))
  await mkdir(join(folder, 'ts'))
  for (const file of ['package.json', 'index.cjs', 'ts/native.ts', 'ts/errors.ts']) {
    await copyFile(file, join(folder, file))
  }
  const program = `import('./ts/native.ts').catch(({ name, code, message }) => console.log(JSON.stringify({ name, code, message })))`
  const args = ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', program]
  const env = { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere/node-diffusion.node' }
  const { stdout } = await run(process.execPath, args, { cwd: folder, env })
  const { name, code, message } = JSON.parse(stdout)
  t.is(name, 'NativeLoadError')
  t.is(code, 'ERR_NATIVE_LOAD')
  t.regex(message, /could not be loaded on \w+-\w+, Node \d+/)
  t.regex(message, /Tried:\n- \/nowhere\/node-diffusion\.node \(from NAPI_RS_NATIVE_LIBRARY_PATH\)\n- .*\.node: no such file/)
  t.regex(message, /What went wrong:\n- .+/)
  t.regex(message, /What to do:\n- install again with optional packages/)
  await rm(folder, { recursive: true })
})

test('doctor tells what this build can do', (t) => {
  const { version, target, level, bf16, threads, cuda } = native.doctor()
  t.regex(version, /^\d+\.\d+\.\d+/)
  t.regex(target, /^(x86_64|aarch64)-/)
  t.true(['avx512', 'avx2', 'neon', 'scalar', 'reference'].includes(level))
  t.true(['f32', 'bf16', 'bf16 in software'].includes(bf16))
  t.true(threads >= 1)
  t.is(typeof cuda, 'boolean')
})

test('inspect reads what a folder holds', async (t) => {
  const found = JSON.parse(await native.inspect('models/shapes', new native.NativeCancelToken()))
  t.is(typeof found.kind, 'string')
  t.true(found.parameters > 0)
})
