import { readFile, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { HubError } from '../errors.ts'
import { isFile, RepoCache } from './cache.ts'
import { chooseFiles, incompleteFolders, type Wanted } from './choose-files.ts'
import { HubClient, type RepoFile } from './client.ts'
import { withLock } from './lock.ts'
import { UnreachableError } from './request.ts'
import { type HubOptions, type HubSettings, hubSettings } from './settings.ts'
import { download } from './transfer.ts'

/** How far a download has come; the total is known from the first event on. */
export type DownloadProgress = {
  phase: 'download'
  /** Path of the file that moved, inside the repository. */
  component: string
  /** Bytes of all wanted files that are here. */
  loaded: number
  /** Bytes of all wanted files. */
  total: number
}

/** Who listens to a download and who may stop it. */
export type DownloadRun = { signal?: AbortSignal; onProgress?: (event: DownloadProgress) => void }

const AT_ONCE = 4
const ID = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/

/** True for text of the form `org/name`. */
export function isRepositoryId(text: string): boolean {
  return ID.test(text) && !text.includes('--') && !text.includes('..')
}

/** A model repository of the hub; what is asked of it comes into the cache, once. */
export class Repository {
  readonly #id: string
  readonly #settings: HubSettings
  readonly #run: DownloadRun
  readonly #cache: RepoCache
  readonly #client: HubClient
  #listing: Promise<{ commit: string; files: RepoFile[] }> | undefined

  private constructor(id: string, settings: HubSettings, run: DownloadRun) {
    this.#id = id
    this.#settings = settings
    this.#run = run
    this.#cache = new RepoCache(settings.cacheDir, id)
    this.#client = new HubClient(id, settings, run.signal)
  }

  /** Checks the options; asks nobody yet. */
  static async open(id: string, options: HubOptions, run: DownloadRun = {}): Promise<Repository> {
    return new Repository(id, await hubSettings(options), run)
  }

  /**
   * Brings the wanted files into the cache and returns the folder that holds them, laid out as in the repository.
   *
   * A commit that is whole in the cache needs no network; a branch is asked for its newest commit, and taken as cached if the hub cannot be
   * reached. Throws `HubError`.
   */
  async fetch(wanted: Wanted): Promise<string> {
    const { revision, localFilesOnly } = this.#settings
    const known = await this.#cache.commitOf(revision)
    if (localFilesOnly) {
      return this.#cached(known, wanted)
    }
    if (known === revision && (await this.#missing(known, wanted, true)) === undefined) {
      return this.#cache.snapshot(known)
    }
    let listing: { commit: string; files: RepoFile[] }
    try {
      this.#listing ??= this.#list()
      listing = await this.#listing
    } catch (error) {
      if (error instanceof UnreachableError && known !== undefined && (await this.#missing(known, wanted)) === undefined) {
        return this.#cache.snapshot(known)
      }
      throw error
    }
    await this.#bring(listing.commit, listing.files, wanted)
    return this.#cache.snapshot(listing.commit)
  }

  /**
   * Names of the files in one of its folders ('' for the root), without downloading any: those of the hub, or of the cache where the hub may not
   * be asked or cannot be reached. Throws `HubError`.
   */
  async list(folder: string): Promise<string[]> {
    const { revision, localFilesOnly } = this.#settings
    const known = await this.#cache.commitOf(revision)
    const prefix = folder === '' ? '' : `${folder.replace(/\/+$/, '')}/`
    const names = (paths: readonly string[]): string[] =>
      paths.flatMap((path) => (path.startsWith(prefix) && !path.slice(prefix.length).includes('/') ? [path.slice(prefix.length)] : []))
    if (localFilesOnly) {
      await this.#cached(known, { folders: [] })
      return names(await this.#cache.files(known ?? revision))
    }
    try {
      this.#listing ??= this.#list()
      return names((await this.#listing).files.map(({ path }) => path))
    } catch (error) {
      if (error instanceof UnreachableError && known !== undefined) {
        this.#listing = undefined
        return names(await this.#cache.files(known))
      }
      throw error
    }
  }

  async #list(): Promise<{ commit: string; files: RepoFile[] }> {
    const commit = await this.#client.commit()
    const files = await this.#client.files(commit)
    await this.#cache.remember(this.#settings.revision, commit)
    return { commit, files }
  }

  async #cached(commit: string | undefined, wanted: Wanted): Promise<string> {
    const missing = commit === undefined ? 'nothing' : await this.#missing(commit, wanted)
    if (commit === undefined || missing !== undefined) {
      const found = commit === undefined ? 'nothing of it' : `a copy without ${missing}`
      throw new HubError(
        `Expected '${this.#id}' at revision '${this.#settings.revision}' in ${this.#settings.cacheDir} but received ${found}; localFilesOnly or HF_HUB_OFFLINE forbids downloading`,
      )
    }
    return this.#cache.snapshot(commit)
  }

  /** What a cached commit lacks of the wanted files, in words; `exact` also asks for the very variant. */
  async #missing(commit: string, wanted: Wanted, exact = false): Promise<string | undefined> {
    const paths = await this.#cache.files(commit)
    const root = this.#cache.snapshot(commit)
    const texts = new Map(
      await Promise.all(
        paths.filter((path) => path.endsWith('.json')).map(async (path) => [path, await readFile(join(root, path), 'utf8')] as const),
      ),
    )
    const folders = incompleteFolders(paths, wanted, (index) => shardNames(texts.get(index) ?? ''))
    const files = (wanted.files ?? []).filter((file) => !paths.includes(file))
    const plain = exact && wanted.variant !== undefined && !chooseFiles(paths, wanted).some((path) => path.includes(`.${wanted.variant}`))
    const missing = [...files, ...folders.map((folder) => `${folder === '' ? 'its' : folder} weights`), ...(plain ? ['the variant'] : [])]
    return missing.length === 0 ? undefined : missing.join(', ')
  }

  async #bring(commit: string, files: readonly RepoFile[], wanted: Wanted): Promise<void> {
    const paths = chooseFiles(
      files.map((file) => file.path),
      wanted,
    )
    const lacking = (wanted.files ?? []).filter((file) => !paths.includes(file))
    if (lacking.length > 0) {
      throw new HubError(`Expected ${lacking.join(', ')} in '${this.#id}' but received a repository without it`)
    }
    const chosen = files.filter((file) => paths.includes(file.path))
    const here = new Map<RepoFile, number>(chosen.map((file) => [file, 0]))
    const todo: RepoFile[] = []
    for (const file of chosen) {
      if (await isFile(join(this.#cache.snapshot(commit), file.path))) {
        here.set(file, file.size)
      } else {
        todo.push(file)
      }
    }
    if (todo.length === 0) {
      return
    }
    await this.#checkSpace(todo)
    const total = chosen.reduce((sum, file) => sum + file.size, 0)
    const report = (file: RepoFile, bytes: number): void => {
      here.set(file, bytes)
      const loaded = [...here.values()].reduce((sum, part) => sum + part, 0)
      this.#run.onProgress?.({ phase: 'download', component: file.path, loaded, total })
    }
    await inParallel(todo, (file, signal) => this.#bringOne(commit, file, signal, report), this.#run.signal)
  }

  async #bringOne(commit: string, file: RepoFile, signal: AbortSignal, report: (file: RepoFile, bytes: number) => void): Promise<void> {
    const blob = this.#cache.blob(file.hash)
    await withLock(this.#cache.lock(file.hash), signal, async () => {
      if (!(await isFile(blob))) {
        const open = (from: number, stop: AbortSignal): Promise<Response> => this.#client.open(commit, file, from, stop)
        await download({ file, blob, open, signal, onBytes: (bytes) => report(file, bytes) })
      }
      await this.#cache.link(commit, file.path, file.hash)
    })
    report(file, file.size)
  }

  async #checkSpace(files: readonly RepoFile[]): Promise<void> {
    const need = files.reduce((sum, file) => sum + file.size, 0)
    const free = await freeBytes(this.#settings.cacheDir)
    if (free !== undefined && free < need) {
      const gb = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`
      throw new HubError(`Expected ${gb(need)} free in ${this.#settings.cacheDir} for '${this.#id}' but received ${gb(free)}`)
    }
  }
}

function shardNames(index: string): string[] {
  try {
    const map: unknown = (JSON.parse(index) as { weight_map?: unknown }).weight_map
    return typeof map === 'object' && map !== null ? [...new Set(Object.values(map).map(String))] : []
  } catch {
    return []
  }
}

/** Free bytes where the folder is or will be; undefined if the system does not say. */
async function freeBytes(folder: string): Promise<number | undefined> {
  const found = await statfs(folder).catch(() => undefined)
  const parent = dirname(folder)
  return found === undefined ? (parent === folder ? undefined : freeBytes(parent)) : found.bavail * found.bsize
}

/** Works through the items, a few at once; the first failure stops the others, which are waited for. */
async function inParallel<T>(
  items: readonly T[],
  work: (item: T, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const failed = new AbortController()
  const stop = signal === undefined ? failed.signal : AbortSignal.any([signal, failed.signal])
  const queue = [...items]
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
      await work(item, stop)
    }
  }
  let first: { error: unknown } | undefined
  await Promise.all(
    Array.from({ length: AT_ONCE }, () =>
      worker().catch((error: unknown) => {
        first ??= { error }
        queue.length = 0
        failed.abort(error)
      }),
    ),
  )
  if (first !== undefined) {
    throw first.error
  }
}
