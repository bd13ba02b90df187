import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { throwIfAborted } from '../abort.ts'
import { HubError } from '../errors.ts'
import type { RepoFile } from './client.ts'
import { pause, reason } from './request.ts'

/** Connections in a row that bring nothing before it gives up. */
const TRIES = 5
/** A connection that is silent for so long is cut. */
const SILENCE_MS = 30_000

/** One file on its way. */
export type Transfer = {
  file: RepoFile
  /** Where the finished file goes; until then it grows beside it as `<blob>.incomplete`. */
  blob: string
  /** Opens the content from a byte on. */
  open: (from: number, signal: AbortSignal) => Promise<Response>
  /** Bytes of this file that are here, whenever that changes. */
  onBytes: (here: number) => void
  signal: AbortSignal | undefined
}

/**
 * Downloads a file, going on where an earlier attempt ended, and puts it in place only when its hash is right.
 *
 * Throws `HubError` if connections keep failing, or if the content is wrong twice.
 */
export async function download(transfer: Transfer): Promise<void> {
  const partial = `${transfer.blob}.incomplete`
  await mkdir(dirname(partial), { recursive: true })
  for (let attempt = 1; ; attempt += 1) {
    const received = await receive(transfer, partial)
    if (received === transfer.file.hash) {
      await rename(partial, transfer.blob)
      return
    }
    await rm(partial, { force: true })
    if (attempt === 2) {
      const { path, hash } = transfer.file
      throw new HubError(`Expected ${path} with the hash ${hash} but received ${received}: nothing of it is kept`)
    }
  }
}

/** Fills the partial file up and returns the hash of all of it. */
async function receive(transfer: Transfer, partial: string): Promise<string> {
  const { file, onBytes, signal } = transfer
  const state = { here: await sizeOf(partial), hash: hashOf(file) }
  if (state.here > file.size) {
    await rm(partial)
    state.here = 0
  }
  if (state.here > 0) {
    for await (const chunk of createReadStream(partial)) {
      throwIfAborted(signal)
      state.hash.update(chunk as Buffer)
    }
  }
  onBytes(state.here)
  const handle = await open(partial, 'a')
  try {
    let failures = 0
    while (state.here < file.size) {
      const before = state.here
      const error = await connect(transfer, handle, state)
      throwIfAborted(signal)
      failures = state.here > before ? 0 : failures + 1
      if (failures === TRIES) {
        throw new HubError(`Expected ${file.size} bytes of ${file.path} but received ${state.here}: ${reason(error)}`, { cause: error })
      }
      if (error !== undefined) {
        await pause(100 * 2 ** failures, signal)
      }
    }
  } finally {
    await handle.close()
  }
  return state.hash.digest('hex')
}

type State = { here: number; hash: Hash }

/** One connection: appends what comes; returns why it ended early, or throws the hub's refusal. */
async function connect({ file, open, onBytes, signal }: Transfer, handle: FileHandle, state: State): Promise<unknown> {
  const silence = new AbortController()
  let timer = setTimeout(() => silence.abort(), SILENCE_MS)
  const stop = signal === undefined ? silence.signal : AbortSignal.any([signal, silence.signal])
  try {
    const response = await open(state.here, stop)
    if (state.here > 0 && !continues(response, state.here)) {
      await handle.truncate(0)
      state.here = 0
      state.hash = hashOf(file)
    }
    if (response.status === 416) {
      await response.body?.cancel()
      return new Error('the server has no such range')
    }
    for await (const chunk of response.body ?? []) {
      const wanted = (chunk as Uint8Array).subarray(0, file.size - state.here)
      await handle.write(wanted)
      state.hash.update(wanted)
      state.here += wanted.byteLength
      onBytes(state.here)
      clearTimeout(timer)
      timer = setTimeout(() => silence.abort(), SILENCE_MS)
      if (state.here === file.size) {
        break
      }
    }
    return state.here < file.size ? new Error('the connection ended early') : undefined
  } catch (error) {
    if (error instanceof HubError) {
      throw error
    }
    return silence.signal.aborted ? new Error(`nothing came for ${SILENCE_MS / 1000} s`) : error
  } finally {
    clearTimeout(timer)
  }
}

function continues(response: Response, from: number): boolean {
  return response.status === 206 && response.headers.get('Content-Range')?.startsWith(`bytes ${from}-`) === true
}

function hashOf({ algorithm, size }: RepoFile): Hash {
  return algorithm === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)
}

async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? 0
}
