import type { Command } from 'commander'
import type { DiffusionPipeline } from '../pipelines/pipeline.ts'
import { UsageError } from './exit.ts'
import { type FilePlace, filePlace } from './file-place.ts'
import { hubOptions } from './hub-flags.ts'

const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value]

/** Adds the flags of LoRAs and textual inversions to `generate`. */
export function addAdapterFlags(command: Command): void {
  command
    .option('--lora <file[:weight]>', 'LoRA, as a file or org/name/FILE of the hub, such as ink.safetensors:0.8; may be repeated', collect)
    .option('--embedding <file>', 'textual inversion; prompts call it by the file’s name without extension; may be repeated', collect)
}

/** What the flags ask for; applied once the pipeline is there. */
export interface AdapterCall {
  /** Loads the adapters into the pipeline. */
  apply(pipe: DiffusionPipeline, signal: AbortSignal): Promise<void>
}

/** Reads the flags; throws `UsageError` for a weight that is no number and a file that is not there. */
export async function readAdapters(flags: Record<string, unknown>): Promise<AdapterCall> {
  const list = (name: string): string[] => (flags[name] as string[] | undefined) ?? []
  const loras = await Promise.all(list('lora').map(readLora))
  const embeddings = await Promise.all(list('embedding').map((text) => filePlace(text, '--embedding')))
  const { cacheDir, localFilesOnly } = hubOptions(flags)
  const where = ({ subfolder, weightName }: FilePlace): object => ({ subfolder, weightName, cacheDir, localFilesOnly })
  return {
    async apply(pipe, signal) {
      const names: string[] = []
      for (const { place } of loras) {
        const adapterName = names.includes(place.name) ? `${place.name} ${names.length + 1}` : place.name
        await pipe.loadLoraWeights(place.source, { ...where(place), adapterName, signal })
        names.push(adapterName)
      }
      if (names.length > 0) {
        pipe.setAdapters(
          names,
          loras.map(({ weight }) => weight),
        )
      }
      for (const place of embeddings) {
        await pipe.loadTextualInversion(place.source, { ...where(place), token: place.name, signal })
      }
    },
  }
}

/** A weight stands behind the last colon; a colon within the path, as after a drive's letter, is not one. */
async function readLora(text: string): Promise<{ place: FilePlace; weight: number }> {
  const [, file = text, after] = /^(.+):([^:/\\]*)$/.exec(text) ?? []
  const weight = after === undefined ? 1 : Number(after)
  if (after?.trim() === '' || !Number.isFinite(weight)) {
    throw new UsageError(`Expected a number behind the colon for --lora but received ${JSON.stringify(text)}`)
  }
  return { place: await filePlace(file, '--lora'), weight }
}
