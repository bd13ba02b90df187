import { AutoPipelineForText2Image } from '../pipelines/auto.ts'
import { exitCode, print, printJson } from './exit.ts'
import { hubOptions } from './hub-flags.ts'
import { listenForInterrupt } from './interrupt.ts'
import { createProgress } from './progress.ts'

/** `download`: brings what a pipeline needs of a model of the hub into the cache and prints the folder; what Ctrl-C stops is gone on with later. */
export async function downloadCommand(model: string, flags: Record<string, unknown>): Promise<void> {
  const progress = await createProgress(flags.quiet === true)
  const interrupt = listenForInterrupt()
  try {
    const folder = await AutoPipelineForText2Image.download(model, {
      ...hubOptions(flags),
      variant: flags.variant as string | undefined,
      signal: interrupt.signal,
      onProgress: ({ loaded, total }) => progress.download(loaded, total),
    })
    progress.stop()
    if (flags.json) {
      printJson({ model, folder })
    } else {
      print(folder)
    }
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
