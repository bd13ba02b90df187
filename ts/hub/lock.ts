import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { throwIfAborted } from '../abort.ts'
import { guard } from '../errors.ts'
import { native } from '../native.ts'

const POLL_MS = 100

/**
 * Runs `work` while this process alone holds the lock file; waits for others, which may be Python's `huggingface_hub`.
 *
 * Rejects with `AbortError` if the signal aborts while it waits. A process that dies frees its locks.
 */
export async function withLock<T>(path: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true })
  const lock = guard(() => native.NativeFileLock.open(path))
  try {
    while (!guard(() => lock.tryLock())) {
      throwIfAborted(signal)
      await sleep(POLL_MS)
    }
    return await work()
  } finally {
    lock.release()
  }
}
