import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, expected } from '../errors.ts'
import { localFolder } from '../models/source.ts'
import { KandinskyV22PriorPipeline } from './kandinsky-v22-prior.ts'
import { type DownloadOptions, downloadComponents, type LoadedComponents, loadComponents, type PipelineLoadOptions } from './load.ts'
import { type OpenedModel, opened } from './model-index.ts'
import type { Slots } from './slot.ts'

/** Where the prior of a decoder is: a folder, an id of the hub, or a loaded pipeline, which stays the caller's. */
export type PriorSource = string | KandinskyV22PriorPipeline

type CombinedClass = { slots: Slots; settings: readonly string[] }
type CombinedLoad = PipelineLoadOptions & Record<string, unknown> & { prior?: PriorSource }

/**
 * Loads a decoder together with its prior: that of the folder itself, else `prior`, else the one that the folder's README names, as on the hub.
 *
 * Source: diffusers `DiffusionPipeline.download`, `CONNECTED_PIPES_KEYS`.
 */
export async function loadConnected(
  source: string | OpenedModel,
  pipeline: CombinedClass,
  { prior, ...options }: CombinedLoad,
): Promise<LoadedComponents> {
  const model = await opened(source, options)
  if (holdsPrior(model) && prior === undefined) {
    return loadComponents(model, pipeline, options)
  }
  const given = prior ?? (await namedPrior(model))
  const { components, owned } = await priorParts(given, options, pipeline.slots)
  try {
    const decoder = await loadComponents(model, pipeline, { ...options, ...components })
    return { ...decoder, owned: [...decoder.owned, ...owned] }
  } catch (error) {
    for (const component of owned) {
      component.dispose()
    }
    throw error
  }
}

/** Brings the files of a decoder and its prior here; returns the decoder's folder. */
export async function downloadConnected(
  source: string | OpenedModel,
  { slots }: Pick<CombinedClass, 'slots'>,
  options: DownloadOptions & { prior?: string } = {},
): Promise<string> {
  const model = await opened(source, options)
  if (holdsPrior(model)) {
    return downloadComponents(model, { slots }, options)
  }
  await KandinskyV22PriorPipeline.download(options.prior ?? (await namedPrior(model)), options)
  const own = Object.fromEntries(Object.entries(slots).filter(([, { folder }]) => !folder.startsWith('prior_')))
  return downloadComponents(model, { slots: own }, options)
}

function holdsPrior({ index }: OpenedModel): boolean {
  return index.prior_prior !== undefined
}

/** The prior's components by their names in a combined pipeline, and those that were loaded for it. */
async function priorParts(
  prior: PriorSource,
  options: CombinedLoad,
  slots: Slots,
): Promise<Pick<LoadedComponents, 'components' | 'owned'>> {
  const isPipeline = prior instanceof KandinskyV22PriorPipeline
  if (!isPipeline && typeof prior !== 'string') {
    throw expected('a folder, an id of the hub or a KandinskyV22PriorPipeline', 'prior', prior)
  }
  const { loadSafetyChecker: _, ...given } = options
  const own = Object.fromEntries(Object.entries(given).filter(([name]) => !(name in slots)))
  const { components, owned } = isPipeline
    ? { components: prior.components, owned: [] }
    : await loadComponents(prior, KandinskyV22PriorPipeline, own)
  const renamed = Object.entries(components).map(([name, part]) => [`prior${name.charAt(0).toUpperCase()}${name.slice(1)}`, part])
  const overridden = Object.fromEntries(Object.entries(given).filter(([name]) => name.startsWith('prior') && name in slots))
  return { components: { ...Object.fromEntries(renamed), ...overridden }, owned }
}

/** The prior that a model's README names in its front matter. */
async function namedPrior({ place }: OpenedModel): Promise<string> {
  const folder = await place.fetch({ folders: [], files: ['README.md'] }).catch(() => undefined)
  const text = folder === undefined ? '' : await readFile(join(folder, 'README.md'), 'utf8').catch(() => '')
  const [, front = ''] = /^---\r?\n(.*?)\r?\n---/s.exec(text) ?? []
  const name = /^prior:[ \t]*(?:\r?\n[ \t]*-[ \t]*|\[[ \t]*)?["']?([^\s"'\]]+)/m.exec(front)?.[1]
  if (folder === undefined || name === undefined) {
    throw new ConfigError(
      'Expected the option prior, or a README.md that names a prior, for a decoder of Kandinsky 2.2 but received neither',
    )
  }
  return (await localFolder(join(folder, name))) ?? name
}
