import { setImmediate } from 'node:timers/promises'

/** How long one slice of work may keep the event loop, in milliseconds. */
const sliceMs = 8

/** Calls `work` for rows 0 to `rows` - 1 and lets the event loop turn whenever 8 ms have passed. */
export async function eachRow(rows: number, work: (row: number) => void): Promise<void> {
  let started = performance.now()
  for (let row = 0; row < rows; row += 1) {
    work(row)
    if (performance.now() - started > sliceMs) {
      await setImmediate()
      started = performance.now()
    }
  }
}
