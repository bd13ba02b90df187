import { randomUUID } from 'node:crypto'
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'

const COMMIT = /^[0-9a-f]{40}$/

/** One repository in the cache folder, laid out as Python's `huggingface_hub` does: blobs by their hash, snapshots of links to them. */
export class RepoCache {
  readonly #root: string
  readonly #locks: string

  constructor(cacheDir: string, id: string) {
    const name = `models--${id.replaceAll('/', '--')}`
    this.#root = join(cacheDir, name)
    this.#locks = join(cacheDir, '.locks', name)
  }

  /** The folder that holds a commit's files. */
  snapshot(commit: string): string {
    return join(this.#root, 'snapshots', commit)
  }

  /** Where a file's content lies, by its hash. */
  blob(hash: string): string {
    return join(this.#root, 'blobs', hash)
  }

  /** The lock file of a blob. */
  lock(hash: string): string {
    return join(this.#locks, `${hash}.lock`)
  }

  /** The commit that a branch or tag had when it was last asked for. */
  async commitOf(revision: string): Promise<string | undefined> {
    if (COMMIT.test(revision)) {
      return revision
    }
    const text = await readFile(join(this.#root, 'refs', ...revision.split('/')), 'utf8').catch(() => '')
    return COMMIT.test(text.trim()) ? text.trim() : undefined
  }

  /** Remembers the commit of a branch or tag. */
  async remember(revision: string, commit: string): Promise<void> {
    if (revision === commit) {
      return
    }
    const path = join(this.#root, 'refs', ...revision.split('/'))
    await mkdir(dirname(path), { recursive: true })
    const unfinished = `${path}.${randomUUID()}`
    await writeFile(unfinished, commit)
    await rename(unfinished, path)
  }

  /** True if the commit's file is there, whole. */
  async has(commit: string, path: string): Promise<boolean> {
    return isFile(join(this.snapshot(commit), path))
  }

  /** Paths of a commit's files that are there, with slashes. */
  async files(commit: string): Promise<string[]> {
    const root = this.snapshot(commit)
    const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => [])
    const paths = entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    const present = await Promise.all(paths.map((path) => this.has(commit, path)))
    return paths.filter((_, i) => present[i])
  }

  /** Makes a commit's file stand for a blob: a link, or a copy where the system allows no links. */
  async link(commit: string, path: string, hash: string): Promise<void> {
    const place = join(this.snapshot(commit), ...path.split('/'))
    await mkdir(dirname(place), { recursive: true })
    await rm(place, { force: true })
    try {
      await symlink(relative(dirname(place), this.blob(hash)), place)
    } catch (error) {
      const code = (error as { code?: unknown }).code
      if (code === 'EEXIST') {
        return
      }
      if (code !== 'EPERM' && code !== 'ENOSYS' && code !== 'EOPNOTSUPP') {
        throw error
      }
      await copyFile(this.blob(hash), place)
    }
  }
}

/** True for a file, or a link to one, that exists. */
export async function isFile(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined)
  return found?.isFile() === true
}
