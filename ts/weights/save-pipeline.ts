import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../errors.ts'
import { checkSaveOptions, intoFolder, libraryOf, type SavePretrainedOptions, writeJson } from './save.ts'

/** What can write itself into a folder. */
type Savable = { savePretrained(dir: string, options?: SavePretrainedOptions): Promise<void> }

/** Writes a pipeline as a diffusers folder: `model_index.json`, and each component in its own folder. */
export async function savePipeline(
  dir: string,
  pipeline: { className: string; slots: Readonly<Record<string, { folder: string }>>; settings: readonly string[]; components: object },
  options: SavePretrainedOptions | undefined,
): Promise<void> {
  const given = checkSaveOptions(options)
  const components: Readonly<Record<string, unknown>> = { ...pipeline.components }
  const index: Record<string, unknown> = { _class_name: pipeline.className }
  for (const name of pipeline.settings.filter((name) => components[name] !== undefined)) {
    index[name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)] = components[name]
  }
  await intoFolder(dir, async (folder) => {
    for (const [name, slot] of Object.entries(pipeline.slots)) {
      const component = components[name]
      if (component === undefined || component === null) {
        index[slot.folder] = [null, null]
        continue
      }
      if (!isSavable(component)) {
        throw new ConfigError(`Expected a component with savePretrained for ${name} but received ${component.constructor.name}`)
      }
      index[slot.folder] = [libraryOf(component.constructor.name), component.constructor.name]
      await mkdir(join(folder, slot.folder), { recursive: true })
      await component.savePretrained(join(folder, slot.folder), given)
    }
    await writeJson(folder, 'model_index.json', index)
  })
}

function isSavable(value: object): value is Savable {
  return 'savePretrained' in value && typeof value.savePretrained === 'function'
}
