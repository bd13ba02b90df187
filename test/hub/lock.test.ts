import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { AbortError } from '../../ts/errors.ts'
import { withLock } from '../../ts/hub/lock.ts'

const addon = fileURLToPath(new URL('../../index.cjs', import.meta.url))

/** Another process that holds the lock until it is killed. */
async function holder(path: string): Promise<ChildProcess> {
  const program = `const { NativeFileLock } = require(${JSON.stringify(addon)})
const lock = NativeFileLock.open(${JSON.stringify(path)})
console.log(lock.tryLock())
setInterval(() => lock.tryLock, 1000)`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [text] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  if (text.trim() !== 'true') {
    throw new Error('the other process did not get the lock')
  }
  return child
}

test('a lock of another process is waited for, and falls when that process dies', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'lock-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'deep', 'blob.lock')
  t.is(await withLock(path, undefined, async () => 'free'), 'free')
  const child = await holder(path)
  await t.throwsAsync(
    withLock(path, AbortSignal.timeout(300), async () => 'held'),
    { instanceOf: AbortError },
  )
  const waiting = withLock(path, undefined, async () => 'freed')
  child.kill('SIGKILL')
  t.is(await waiting, 'freed')
})
