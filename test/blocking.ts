import { once } from 'node:events'
import { watchLoop } from './loop-watch.ts'
import { startWorker } from './start-worker.ts'

/** No single piece of work on the JavaScript thread may take longer. */
export const MOST_BLOCKED_MS = 50

const RUNS = 10

/**
 * The longest time in milliseconds for which `work` kept the event loop from turning, by the first run that stays below the limit, or the least of ten.
 *
 * The longest pause of a thread that does nothing meanwhile is taken off, since the host of a virtual machine can stop it for a while; what the work
 * itself blocks it blocks in every run, and that thread does not see it.
 */
export async function longestBlock(work: () => Promise<unknown>): Promise<number> {
  const idle = startWorker(new URL('idle-thread.ts', import.meta.url))
  const pauses = async (): Promise<number> => {
    idle.postMessage('next')
    const [ms] = (await once(idle, 'message')) as [number]
    return ms
  }
  let least = Number.POSITIVE_INFINITY
  try {
    for (let run = 0; run < RUNS && least >= MOST_BLOCKED_MS; run += 1) {
      await pauses()
      const stop = watchLoop()
      await work()
      least = Math.min(least, stop() - (await pauses()))
    }
  } finally {
    await idle.terminate()
  }
  return Math.max(least, 0)
}
