import { existsSync, readFileSync } from 'node:fs'

const EVERY_MS = 5
const statistics = '/proc/thread-self/schedstat'

/** Milliseconds that this thread was ready to run but another one had its core; 0 where the system does not tell. */
function waited(): number {
  return existsSync(statistics) ? Number(readFileSync(statistics, 'utf8').split(' ')[1]) / 1e6 : 0
}

/** Starts to watch this thread's event loop; the function it gives stops, and tells the longest time in milliseconds that the loop did not turn although the thread had a core. */
export function watchLoop(): () => number {
  let [longest, last, queued] = [0, performance.now(), waited()]
  const timer = setInterval(() => {
    const [now, queuedNow] = [performance.now(), waited()]
    longest = Math.max(longest, now - last - EVERY_MS - (queuedNow - queued))
    last = now
    queued = queuedNow
  }, EVERY_MS)
  return () => {
    clearInterval(timer)
    return longest
  }
}
