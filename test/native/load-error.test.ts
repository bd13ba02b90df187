import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { native } from '../../ts/native.ts'

const run = promisify(execFile)

test('an addon that cannot be loaded is one error that says what was tried and what to do', async (t) => {
  const program = `import(${JSON.stringify(new URL('../../ts/native.ts', import.meta.url).href)}).catch((error) => console.log(JSON.stringify({ ...error, name: error.name, message: error.message })))`
  const env = { ...process.env, NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere/node-diffusion.node', NAPI_RS_FORCE_WASI: '' }
  const { stdout } = await run(process.execPath, ['--import=tsx', '--input-type=module', '-e', program], { env })
  if (stdout.trim() === '') {
    t.pass('the loader went on to the file of the checkout')
    return
  }
  const error = JSON.parse(stdout)
  t.is(error.name, 'NativeLoadError')
  t.is(error.code, 'ERR_NATIVE_LOAD')
  t.regex(error.message, /\/nowhere\/node-diffusion\.node \(from NAPI_RS_NATIVE_LIBRARY_PATH\)/)
  t.regex(error.message, /What to do:\n- build it: npm run build:native/)
})

test('doctor tells what this build can do', (t) => {
  const { version, target, level, threads, cuda } = native.doctor()
  t.regex(version, /^\d+\.\d+\.\d+/)
  t.regex(target, /^(x86_64|aarch64)-/)
  t.true(['avx512', 'avx2', 'neon', 'scalar', 'reference'].includes(level))
  t.true(threads >= 1)
  t.is(typeof cuda, 'boolean')
})

test('inspect reads what a folder holds', async (t) => {
  const found = JSON.parse(await native.inspect('models/shapes', new native.NativeCancelToken()))
  t.is(typeof found.kind, 'string')
  t.true(found.parameters > 0)
})
