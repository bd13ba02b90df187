import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

// Freed small blocks go back to the system at once; by default the allocator keeps them a while. Set before the native part is loaded.
process.env.MIMALLOC_PURGE_DELAY = '0'
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Resident memory in MB after garbage was collected and finalizers ran. */
async function settledMemory(): Promise<number> {
  for (let i = 0; i < 2; i++) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return process.memoryUsage.rss() / 2 ** 20
}

/** MB that count as noise: single values swing by as much both ways. Over 50 rounds a leak of half a MB a round exceeds it. */
export const LIMIT = 20

const MEASURES = 3

/**
 * How many MB the memory grows from the first to the last fifth of `rounds` calls of `work`.
 *
 * The least of each fifth counts: the allocator gives pages back some time after they are freed, so single values swing, while a leak lifts
 * them all. Growth over the limit is measured up to twice more, and the least counts: a leak shows every time, what the system's page
 * accounting adds once does not.
 */
export async function growthOver(rounds: number, work: (round: number) => Promise<unknown>): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < MEASURES && least >= LIMIT; i++) {
    least = Math.min(least, await growthOnce(rounds, work))
  }
  return least
}

async function growthOnce(rounds: number, work: (round: number) => Promise<unknown>): Promise<number> {
  const fifth = Math.floor(rounds / 5)
  let [first, last] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]
  for (let i = 0; i < rounds; i++) {
    await work(i)
    // Collecting garbage takes as long as a small round: only what counts is measured.
    if (i < fifth) {
      first = Math.min(first, await settledMemory())
    } else if (i >= rounds - fifth) {
      last = Math.min(last, await settledMemory())
    }
  }
  return last - first
}
