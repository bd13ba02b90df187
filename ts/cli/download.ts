import { AutoPipelineForText2Image } from '../pipelines/auto.ts'
import { print, printJson } from './exit.ts'
import { hubOptions } from './hub-flags.ts'
import { interruptible } from './interrupt.ts'

/** `download`: brings what a pipeline needs of a model of the hub into the cache and prints the folder; what Ctrl-C stops is gone on with later. */
export async function downloadCommand(model: string, flags: Record<string, unknown>): Promise<void> {
  await interruptible(flags.quiet === true, async ({ signal }, progress) => {
    const folder = await AutoPipelineForText2Image.download(model, {
      ...hubOptions(flags),
      variant: flags.variant as string | undefined,
      signal,
      onProgress: ({ loaded, total }) => progress.download(loaded, total),
    })
    progress.stop()
    if (flags.json) {
      printJson({ model, folder })
    } else {
      print(folder)
    }
  })
}
