import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError } from '../errors.ts'
import type { HubOptions } from '../hub/settings.ts'
import { openSource } from '../models/source.ts'
import type { SchedulerConfig } from './config.ts'

const FILES = ['scheduler_config.json', 'config.json']

/** Reads a scheduler's config (`scheduler_config.json`, or a `config.json` of a scheduler) from a folder (or its `subfolder`); Python's bare Infinity and NaN tokens are understood. */
export async function readSchedulerConfig(
  dir: string,
  { subfolder = '', ...hub }: HubOptions & { subfolder?: string } = {},
): Promise<SchedulerConfig> {
  const place = await openSource(dir, hub)
  const folder = join(await place.fetch({ folders: [subfolder] }), subfolder)
  for (const name of FILES) {
    const path = join(folder, name)
    const found = await stat(path).catch(() => undefined)
    if (found?.isFile()) {
      const config = parse(path, await readFile(path, 'utf8'))
      if (name === 'scheduler_config.json' || /Scheduler$/.test(String(config._class_name))) {
        return config
      }
    }
  }
  throw new ConfigError(`Expected a file ${join(folder, 'scheduler_config.json')} but there is none`)
}

function parse(path: string, text: string): SchedulerConfig {
  const plain = text.replace(/([:[,]\s*)(-?Infinity)(?=\s*[,}\]])/g, '$1"$2"')
  let value: unknown
  try {
    value = JSON.parse(plain)
  } catch (cause) {
    throw new ConfigError(`Expected JSON in ${path} but received text that does not parse: ${(cause as Error).message}`, { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ConfigError(`Expected a JSON object in ${path} but received ${Array.isArray(value) ? 'an array' : String(value)}`)
  }
  return value as SchedulerConfig
}
