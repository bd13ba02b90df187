import type { Command } from 'commander'
import type { HubOptions } from '../hub/settings.ts'

/** Adds the flags that say where a model of the hub comes from; the token is read from `HF_TOKEN` only, as other users see arguments. */
export function addHubFlags(command: Command): Command {
  return command
    .option('--revision <name>', 'branch, tag or commit of a model of the hub (default: main)')
    .option('--cache-dir <folder>', 'where models of the hub are kept (default: shared with Python, see HF_HOME)')
    .option('--offline', 'use only what is in the cache')
}

/** The options behind the flags. */
export function hubOptions(flags: Readonly<Record<string, unknown>>): HubOptions {
  const text = (name: string): string | undefined => (flags[name] === undefined ? undefined : String(flags[name]))
  return { revision: text('revision'), cacheDir: text('cacheDir'), localFilesOnly: flags.offline === true ? true : undefined }
}
