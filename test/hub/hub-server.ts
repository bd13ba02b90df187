import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, relative, sep } from 'node:path'

/** The commit that the server's only branch, `main`, has. */
export const COMMIT = 'c'.repeat(40)

/** What a test may do with a request before the server answers; true if it answered itself. */
export type Meddle = (request: IncomingMessage, response: ServerResponse) => boolean

type Content = { bytes: Buffer; hash: string; lfs: boolean }

/** A server of this machine that speaks the part of the hub's API that downloading needs. */
export class HubServer implements AsyncDisposable {
  /** `METHOD path` of every request, in order; with the range, if one was asked for. */
  readonly requests: string[] = []
  meddle: Meddle = () => false
  readonly #files: Map<string, Content>
  readonly #server: Server

  private constructor(files: Record<string, Buffer | string>) {
    this.#files = new Map(Object.entries(files).map(([path, content]) => [path, contentOf(path, Buffer.from(content))]))
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  static async start(files: Record<string, Buffer | string>): Promise<HubServer> {
    const hub = new HubServer(files)
    await new Promise<void>((resolve) => hub.#server.listen(0, '127.0.0.1', resolve))
    return hub
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Requests for contents, by the repository's path. */
  get downloads(): string[] {
    return this.requests.filter((line) => line.includes('/resolve/')).map((line) => line.replace(/^\w+ \S+\/resolve\/[^/]+\//, ''))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.endpoint)
    const { range } = request.headers
    this.requests.push(`${request.method} ${url.pathname}${range === undefined ? '' : ` ${range}`}`)
    if (this.meddle(request, response)) {
      return
    }
    const [, path] = /^\/org\/tiny\/resolve\/[^/]+\/(.*)$/.exec(url.pathname) ?? []
    const content = this.#files.get(decodeURIComponent(path ?? url.searchParams.get('path') ?? ''))
    if (url.pathname.startsWith('/api/models/org/tiny/revision/')) {
      this.#revision(decodeURIComponent(url.pathname.slice('/api/models/org/tiny/revision/'.length)), response)
    } else if (url.pathname === `/api/models/org/tiny/tree/${COMMIT}`) {
      this.#tree(url, response)
    } else if (content?.lfs && path !== undefined) {
      response.writeHead(302, { Location: `/cdn?path=${encodeURIComponent(path)}` }).end()
    } else if (content !== undefined && (path !== undefined || url.pathname === '/cdn')) {
      sendRange(content, range, response)
    } else {
      refuse(response, 404, path === undefined ? 'RepoNotFound' : 'EntryNotFound')
    }
  }

  #revision(revision: string, response: ServerResponse): void {
    if (revision !== 'main' && revision !== COMMIT && revision !== 'refs/pr/1') {
      refuse(response, 404, 'RevisionNotFound')
      return
    }
    sendJson(response, { _id: '1', id: 'org/tiny', private: false, gated: false, lastModified: '2024-01-01T00:00:00Z', sha: COMMIT })
  }

  /** Two pages, as the hub gives long listings. */
  #tree(url: URL, response: ServerResponse): void {
    const entries = [...this.#files].map(([path, { bytes, hash, lfs }]) => ({
      type: 'file',
      path,
      size: bytes.length,
      oid: lfs ? 'f'.repeat(40) : hash,
      ...(lfs ? { lfs: { oid: hash, size: bytes.length, pointerSize: 130 } } : {}),
    }))
    const half = Math.ceil(entries.length / 2)
    if (url.searchParams.has('cursor')) {
      sendJson(response, entries.slice(half))
      return
    }
    url.searchParams.set('cursor', 'next')
    response.setHeader('Link', `<${url.href}>; rel="next"`)
    sendJson(response, entries.slice(0, half))
  }
}

/** The files of a folder by their paths with slashes. */
export function filesOf(folder: string): Record<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const paths = entries.map((entry) => join(entry.parentPath, entry.name))
  return Object.fromEntries(paths.map((path) => [relative(folder, path).split(sep).join('/'), readFileSync(path)]))
}

/** Answers with an error, as the hub does. */
export function refuse(response: ServerResponse, status: number, code: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'X-Error-Code': code, 'Content-Type': 'application/json', ...headers }).end(JSON.stringify({ error: code }))
}

function contentOf(path: string, bytes: Buffer): Content {
  const lfs = /\.(safetensors|bin)$/.test(path)
  const hash = lfs ? createHash('sha256').update(bytes) : createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes)
  return { bytes, lfs, hash: hash.digest('hex') }
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
}

function sendRange({ bytes, hash }: Content, range: string | undefined, response: ServerResponse): void {
  const from = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0)
  if (range === undefined) {
    response.writeHead(200, { ETag: `"${hash}"`, 'Content-Length': bytes.length }).end(bytes)
  } else if (from >= bytes.length) {
    response.writeHead(416).end()
  } else {
    const headers = { 'Content-Range': `bytes ${from}-${bytes.length - 1}/${bytes.length}`, 'Content-Length': bytes.length - from }
    response.writeHead(206, { ETag: `"${hash}"`, ...headers }).end(bytes.subarray(from))
  }
}
