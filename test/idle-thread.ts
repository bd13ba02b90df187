import { parentPort } from 'node:worker_threads'
import { watchLoop } from './loop-watch.ts'

// A thread that does nothing: the pauses it sees are the machine's. Every message ends one watch, tells what it saw, and starts the next.
let stop = watchLoop()
parentPort?.on('message', () => {
  parentPort?.postMessage(stop())
  stop = watchLoop()
})
