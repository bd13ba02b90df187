import { HubApiError, listFiles, modelInfo } from '@huggingface/hub'
import { HubError } from '../errors.ts'
import { hubFetch } from './request.ts'
import type { HubSettings } from './settings.ts'

/** One file of a repository, before any of it is loaded. */
export type RepoFile = {
  /** With slashes, relative to the repository. */
  path: string
  /** Bytes. */
  size: number
  /** Name of its blob in the cache. */
  hash: string
  /** How `hash` is made: SHA-256 of the content for large files, git's SHA-1 of a blob for the others. */
  algorithm: 'sha256' | 'git'
}

/** What is asked of the hub about one repository. */
export class HubClient {
  readonly #id: string
  readonly #settings: HubSettings
  readonly #fetch: typeof fetch

  constructor(id: string, settings: HubSettings, signal: AbortSignal | undefined) {
    this.#id = id
    this.#settings = settings
    this.#fetch = hubFetch(settings, signal)
  }

  /** The commit that the revision stands for now. */
  async commit(): Promise<string> {
    const { endpoint, revision } = this.#settings
    const options = { name: this.#id, revision, hubUrl: endpoint, additionalFields: ['sha'], fetch: this.#fetch } as const
    const { sha } = await this.#told(() => modelInfo({ ...options, additionalFields: ['sha'] }))
    if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha)) {
      throw new HubError(`Expected the commit of '${this.#id}' from ${endpoint} but received ${String(sha)}`)
    }
    return sha
  }

  /** All files of a commit. */
  async files(commit: string): Promise<RepoFile[]> {
    const repo = { type: 'model', name: this.#id } as const
    const found: RepoFile[] = []
    await this.#told(async () => {
      for await (const entry of listFiles({
        repo,
        revision: commit,
        recursive: true,
        hubUrl: this.#settings.endpoint,
        fetch: this.#fetch,
      })) {
        const hash = entry.lfs?.oid ?? entry.oid
        if (entry.type === 'file' && hash !== undefined) {
          checkPath(entry.path)
          found.push({ path: entry.path, size: entry.lfs?.size ?? entry.size, hash, algorithm: entry.lfs ? 'sha256' : 'git' })
        }
      }
    })
    return found
  }

  /** A file's content from byte `from` on, as the server gives it: 206 for the rest, 200 for the whole. */
  async open(commit: string, { path }: RepoFile, from: number, signal: AbortSignal): Promise<Response> {
    const place = path.split('/').map(encodeURIComponent).join('/')
    const headers = from > 0 ? { Range: `bytes=${from}-` } : undefined
    const url = `${this.#settings.endpoint}/${this.#id}/resolve/${commit}/${place}`
    const response = await this.#fetch(url, { headers: { ...headers, 'Accept-Encoding': 'identity' }, signal })
    if (response.ok || response.status === 416) {
      return response
    }
    await response.body?.cancel()
    throw this.#refusal(response.status, `of the file ${path}`)
  }

  async #told<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      throw error instanceof HubApiError ? this.#refusal(error.statusCode, `at revision '${this.#settings.revision}'`, error) : error
    }
  }

  #refusal(status: number, what: string, cause?: Error): HubError {
    const { endpoint, token } = this.#settings
    const advice: Record<number, string> = {
      401:
        token === undefined ? 'it is private, gated or not there; give a token (option token or HF_TOKEN)' : 'the token is not valid there',
      403: `the token may not read it; its terms may have to be accepted at ${endpoint}/${this.#id}`,
      404: 'there is no such repository, revision or file',
      429: 'too many requests; try again later',
    }
    const said = advice[status] ?? 'the server failed'
    return new HubError(`Expected '${this.#id}' ${what} from ${endpoint} but received status ${status}: ${said}`, { cause, status })
  }
}

function checkPath(path: string): void {
  const bad = path.split('/').some((part) => part === '' || part === '.' || part === '..') || /[\\:\0]/.test(path)
  if (bad) {
    throw new HubError(`Expected file names inside the repository but received ${JSON.stringify(path)}`)
  }
}
