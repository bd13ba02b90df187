import { stat } from 'node:fs/promises'
import type { HubOptions } from '../hub/settings.ts'
import type { LoadOptions } from '../models/load.ts'
import type { SingleFileOptions } from '../weights/single-file.ts'
import { UsageError } from './exit.ts'
import { hubOptions } from './hub-flags.ts'

type Kept = Pick<LoadOptions, 'dtype' | 'device'>

/** What reads models of one kind, from folders and the hub or from one file; O are its options besides those that flags give. */
export interface ModelLoader<P, O> {
  fromPretrained(source: string, options: O & Kept & HubOptions & Pick<LoadOptions, 'variant'>): Promise<P>
  fromSingleFile(path: string, options: O & Kept & Pick<SingleFileOptions, 'config'>): Promise<P>
}

/** The flags that say how a model is read. */
export type ModelFlags = Readonly<Record<string, unknown>>

/** Whether a model is one file, as most checkpoints outside the hub are. */
export async function isModelFile(model: string): Promise<boolean> {
  const entry = await stat(model).catch(() => undefined)
  return entry?.isFile() === true
}

/** Throws `UsageError` for flags that do not go with this kind of model. */
export async function checkModelFlags(model: string, { variant, config }: ModelFlags): Promise<void> {
  const isFile = await isModelFile(model)
  if (isFile && variant !== undefined) {
    throw new UsageError(`--variant can be used only with a folder or a model of the hub, but --model is the file ${JSON.stringify(model)}`)
  }
  if (!isFile && config !== undefined) {
    throw new UsageError(`--config can be used only with a single file, but --model is ${JSON.stringify(model)}`)
  }
}

/** Reads a model as the flags `--dtype`, `--device`, `--variant`, `--config` and those of the hub say. */
export async function loadModel<P, O extends object>(loader: ModelLoader<P, O>, model: string, flags: ModelFlags, options: O): Promise<P> {
  const { dtype, device, variant, config } = flags as Kept & { variant?: string; config?: string }
  if (await isModelFile(model)) {
    return loader.fromSingleFile(model, { ...options, dtype, device, config })
  }
  return loader.fromPretrained(model, { ...options, ...hubOptions(flags), dtype, device, variant })
}
