import { existsSync, readFileSync } from 'node:fs'

const statistics = `/proc/${process.pid}/task/${process.pid}/schedstat`

/** Milliseconds that the main thread was ready to run but another program or thread had its core; 0 where the system does not tell. */
function waited(): number {
  return existsSync(statistics) ? Number(readFileSync(statistics, 'utf8').split(' ')[1]) / 1e6 : 0
}

/**
 * The longest time in milliseconds for which `work` kept the event loop from turning.
 *
 * Time in which the thread wanted to run but got no core is taken off (Linux), so that a busy machine does not look like a blocked loop;
 * what remains is JavaScript, collection of garbage, or waiting inside a native call. The lesser of two runs counts: what the work itself
 * blocks it blocks both times, a pause of the virtual machine comes once.
 */
export async function longestBlock(work: () => Promise<unknown>): Promise<number> {
  return Math.min(await measure(work), await measure(work))
}

async function measure(work: () => Promise<unknown>): Promise<number> {
  const every = 5
  let [longest, last, queued] = [0, performance.now(), waited()]
  const timer = setInterval(() => {
    const [now, queuedNow] = [performance.now(), waited()]
    longest = Math.max(longest, now - last - every - (queuedNow - queued))
    last = now
    queued = queuedNow
  }, every)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  return longest
}
