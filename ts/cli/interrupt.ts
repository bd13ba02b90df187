import { exitCode, note } from './exit.ts'
import { createProgress, type Progress } from './progress.ts'

/** What a run needs to be stopped from the keyboard: the signal to pass on, and the exit code once it was used. */
export type Interrupt = { signal: AbortSignal; exitCode: () => number | undefined; done: () => void }

/** Ctrl-C (or SIGTERM) aborts the work cleanly; a second one ends the process at once. */
function listenForInterrupt(): Interrupt {
  const controller = new AbortController()
  let code: number | undefined
  const stop = (name: NodeJS.Signals): void => {
    if (code !== undefined) {
      process.stderr.write(process.stderr.isTTY ? '\x1b[?25h' : '') // a progress bar may have hidden the cursor
      process.exit(code)
    }
    code = name === 'SIGTERM' ? exitCode.terminated : exitCode.interrupted
    note('\nStopping; press Ctrl-C again to end at once.')
    controller.abort(new Error(`received ${name}`))
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  const done = (): void => {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
  return { signal: controller.signal, exitCode: () => code, done }
}

/** Runs work that shows its progress; what Ctrl-C ends is no error, and has an exit code of its own. */
export async function interruptible(quiet: boolean, work: (interrupt: Interrupt, progress: Progress) => Promise<void>): Promise<void> {
  const progress = await createProgress(quiet)
  const interrupt = listenForInterrupt()
  try {
    await work(interrupt, progress)
  } catch (error) {
    if (interrupt.exitCode() === undefined) {
      throw error
    }
    process.exitCode = interrupt.exitCode() ?? exitCode.interrupted
  } finally {
    progress.stop()
    interrupt.done()
  }
}
