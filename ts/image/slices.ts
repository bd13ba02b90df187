import { setImmediate } from 'node:timers/promises'

/** How long all slices of work together may keep one turn of the event loop, in milliseconds. */
const sliceMs = 8

/** When the turn began; long ago for what runs outside of slices. */
let began = Number.NEGATIVE_INFINITY
let next: Promise<void> | undefined

/** The next turn of the event loop, one for everything that waits: pictures that are worked on at the same time share its milliseconds. */
function nextTurn(): Promise<void> {
  next ??= setImmediate().then(() => {
    next = undefined
    began = performance.now()
  })
  return next
}

/** Calls `work` for rows 0 to `rows` - 1 and lets the event loop turn whenever 8 ms have passed, in this and all other such work. */
export async function eachRow(rows: number, work: (row: number) => void): Promise<void> {
  for (let row = 0; row < rows; row += 1) {
    work(row)
    if (performance.now() - began > sliceMs) {
      await nextTurn()
    }
  }
}
