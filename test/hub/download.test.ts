import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AbortError, HubError } from '../../ts/errors.ts'
import type { DownloadProgress, DownloadRun } from '../../ts/hub/repository.ts'
import { Repository } from '../../ts/hub/repository.ts'
import type { HubOptions } from '../../ts/hub/settings.ts'
import { COMMIT, HubServer, refuse } from './hub-server.ts'

const weights = Buffer.alloc(300_000, 'weights of a network ')
const files = { 'model_index.json': '{"_class_name":"X"}', 'unet/config.json': '{}', 'unet/diffusion_pytorch_model.safetensors': weights }
const wanted = { folders: ['unet'], files: ['model_index.json'] }
const blobPath = 'unet/diffusion_pytorch_model.safetensors'

async function cacheFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'hub-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  return folder
}

async function fetchWanted(hub: HubServer, cacheDir: string, options: HubOptions = {}, run: DownloadRun = {}): Promise<string> {
  const repository = await Repository.open('org/tiny', { endpoint: hub.endpoint, cacheDir, token: 'hf_test', ...options }, run)
  return repository.fetch(wanted)
}

async function partials(cacheDir: string): Promise<string[]> {
  const names = await readdir(join(cacheDir, 'models--org--tiny', 'blobs')).catch(() => [])
  return names.filter((name) => name.endsWith('.incomplete'))
}

test('a repository lies in the cache as Python lays it out', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  const folder = await fetchWanted(hub, cacheDir)
  t.is(folder, join(cacheDir, 'models--org--tiny', 'snapshots', COMMIT))
  t.is(await readFile(join(cacheDir, 'models--org--tiny', 'refs', 'main'), 'utf8'), COMMIT)
  t.true(weights.equals(await readFile(join(folder, blobPath))))
  t.regex(await readlink(join(folder, blobPath)), /^\.\.\/\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/)
  t.regex(await readlink(join(folder, 'model_index.json')), /^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/)
  t.deepEqual(await partials(cacheDir), [])
})

test('the total is known from the first event on, and everything comes once', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  const events: DownloadProgress[] = []
  await fetchWanted(hub, cacheDir, {}, { onProgress: (event) => events.push(event) })
  const total = Object.values(files).reduce((sum, content) => sum + content.length, 0)
  t.true(events.every((event) => event.total === total))
  t.is(events.at(-1)?.loaded, total)
  t.deepEqual([...hub.downloads].sort(), Object.keys(files).sort())
  const before = hub.downloads.length
  await fetchWanted(hub, cacheDir)
  t.is(hub.downloads.length, before)
})

test('a commit that is whole in the cache, and an offline run, ask nobody', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  await fetchWanted(hub, cacheDir)
  const before = hub.requests.length
  await fetchWanted(hub, cacheDir, { revision: COMMIT })
  await fetchWanted(hub, cacheDir, { localFilesOnly: true })
  t.is(hub.requests.length, before)
})

test('offline with nothing or too little in the cache says what is missing', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  const offline = { localFilesOnly: true }
  await t.throwsAsync(fetchWanted(hub, cacheDir, offline), { instanceOf: HubError, message: /nothing of it/ })
  const repository = await Repository.open('org/tiny', { endpoint: hub.endpoint, cacheDir })
  await repository.fetch({ folders: [], files: ['model_index.json'] })
  await t.throwsAsync(fetchWanted(hub, cacheDir, offline), { instanceOf: HubError, message: /without unet weights/ })
})

test('a server that is gone is replaced by what the cache has', async (t) => {
  const cacheDir = await cacheFolder(t)
  const hub = await HubServer.start(files)
  const { endpoint } = hub
  const folder = await fetchWanted(hub, cacheDir)
  await hub[Symbol.asyncDispose]()
  const again = await Repository.open('org/tiny', { endpoint, cacheDir })
  t.is(await again.fetch(wanted), folder)
  const empty = await Repository.open('org/tiny', { endpoint, cacheDir: await cacheFolder(t) })
  await t.throwsAsync(empty.fetch(wanted), { instanceOf: HubError, message: /received none: .*ECONNREFUSED/ })
})

test('a cut connection is taken up where it ended', async (t) => {
  await using hub = await HubServer.start(files)
  let cuts = 0
  let cut = (): void => {}
  hub.meddle = (request, response) => {
    if (!request.url?.startsWith('/cdn') || cuts === 2) {
      return false
    }
    cuts += 1
    const from = cuts === 1 ? 0 : 100_000
    response.writeHead(cuts === 1 ? 200 : 206, { 'Content-Range': `bytes ${from}-${weights.length - 1}/${weights.length}` })
    response.write(weights.subarray(from, from + 100_000))
    cut = () => response.destroy()
    return true
  }
  const cacheDir = await cacheFolder(t)
  // Once they are in the file: bytes on their way end with the connection.
  const onProgress = ({ component, loaded }: DownloadProgress): void => {
    if (component === blobPath && loaded >= cuts * 100_000) {
      cut()
    }
  }
  const folder = await fetchWanted(hub, cacheDir, {}, { onProgress })
  t.true(weights.equals(await readFile(join(folder, blobPath))))
  const ranges = hub.requests.filter((line) => line.includes('/cdn ')).map((line) => line.replace(/^.*\/cdn /, ''))
  t.deepEqual(ranges, ['bytes=100000-', 'bytes=200000-'])
})

test('a part that an earlier process left is gone on with, even against a server without ranges', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  const folder = await fetchWanted(hub, cacheDir)
  const blob = join(cacheDir, 'models--org--tiny', 'blobs', (await readlink(join(folder, blobPath))).replace(/^.*\//, ''))
  for (const ranges of [true, false]) {
    await rm(blob)
    await writeFile(`${blob}.incomplete`, weights.subarray(0, 250_000))
    hub.meddle = (request) => {
      if (!ranges) {
        delete request.headers.range
      }
      return false
    }
    await fetchWanted(hub, cacheDir)
    t.is(hub.requests.at(-1)?.endsWith('bytes=250000-'), true)
    t.true(weights.equals(await readFile(blob)))
  }
})

test('content with a wrong checksum is asked for once more, then refused, and nothing of it is kept', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  let asked = 0
  hub.meddle = (request, response) => {
    if (!request.url?.startsWith('/cdn')) {
      return false
    }
    asked += 1
    response.writeHead(200).end(Buffer.alloc(weights.length, 'other'))
    return true
  }
  await t.throwsAsync(fetchWanted(hub, cacheDir), {
    instanceOf: HubError,
    message: /Expected unet\/.* with the hash .* nothing of it is kept/,
  })
  t.is(asked, 2)
  t.deepEqual(await partials(cacheDir), [])
  await t.throwsAsync(stat(join(cacheDir, 'models--org--tiny', 'snapshots', COMMIT, blobPath)))
})

test('refusals say what to do', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  for (const [status, message] of [
    [401, /status 401: the token is not valid/],
    [403, /status 403: .*terms may have to be accepted/],
    [404, /status 404: there is no such repository, revision or file/],
  ] as const) {
    hub.meddle = (_, response) => {
      refuse(response, status, 'Refused')
      return true
    }
    const error = await t.throwsAsync(fetchWanted(hub, cacheDir), { instanceOf: HubError, message })
    t.is(error?.status, status)
  }
  hub.meddle = () => false
  await t.throwsAsync(fetchWanted(hub, cacheDir, { revision: 'v9' }), { message: /at revision 'v9'/ })
})

test('a busy server is waited for as long as it says', async (t) => {
  await using hub = await HubServer.start(files)
  let refused = 0
  hub.meddle = (_, response) => {
    if (refused === 2) {
      return false
    }
    refused += 1
    refuse(response, 429, 'TooManyRequests', { 'Retry-After': '0' })
    return true
  }
  await t.notThrowsAsync(fetchWanted(hub, await cacheFolder(t)))
  hub.meddle = (_, response) => {
    refuse(response, 429, 'TooManyRequests', { 'Retry-After': '0' })
    return true
  }
  await t.throwsAsync(fetchWanted(hub, await cacheFolder(t)), { message: /status 429: too many requests/ })
})

test('the token goes to the hub and to nobody else', async (t) => {
  await using elsewhere = await HubServer.start(files)
  await using hub = await HubServer.start(files)
  const seen: (string | undefined)[] = []
  elsewhere.meddle = (request) => {
    seen.push(request.headers.authorization)
    return false
  }
  hub.meddle = (request, response) => {
    t.is(request.headers.authorization, 'Bearer any-token')
    if (!request.url?.includes('.safetensors')) {
      return false
    }
    response.writeHead(302, { Location: `${elsewhere.endpoint}/cdn?path=${encodeURIComponent(blobPath)}` }).end()
    return true
  }
  await fetchWanted(hub, await cacheFolder(t), { token: 'any-token' })
  t.deepEqual(seen, [undefined])
})

test('an abort stops at once and keeps the part for the next attempt', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  const stop = new AbortController()
  hub.meddle = (request, response) => {
    if (!request.url?.startsWith('/cdn')) {
      return false
    }
    response.writeHead(200, { 'Content-Length': weights.length })
    response.write(weights.subarray(0, 100_000))
    return true
  }
  const run = {
    signal: stop.signal,
    onProgress: ({ component, loaded }: DownloadProgress) => {
      if (component === blobPath && loaded >= 100_000) {
        stop.abort('enough')
      }
    },
  }
  const error = await t.throwsAsync(fetchWanted(hub, cacheDir, {}, run), { instanceOf: AbortError })
  t.is(error?.cause, 'enough')
  t.is((await partials(cacheDir)).length, 1)
  hub.meddle = () => false
  t.true(weights.equals(await readFile(join(await fetchWanted(hub, cacheDir), blobPath))))
  t.regex(hub.requests.at(-1) ?? '', /bytes=100000-$/)
})

test('two downloads at once share the work through locks', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  const folders = await Promise.all([fetchWanted(hub, cacheDir), fetchWanted(hub, cacheDir), fetchWanted(hub, cacheDir)])
  t.is(new Set(folders).size, 1)
  t.deepEqual([...hub.downloads].sort(), Object.keys(files).sort())
})

test('a listing that leads out of the folder is refused', async (t) => {
  await using hub = await HubServer.start({ ...files, '../../escape.json': '{}' })
  await t.throwsAsync(fetchWanted(hub, await cacheFolder(t)), { instanceOf: HubError, message: /file names inside the repository/ })
})

test('bad options are refused before anybody is asked', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  await t.throwsAsync(fetchWanted(hub, cacheDir, { endpoint: 'ftp://x' }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /http\(s\) address for endpoint/,
  })
  await t.throwsAsync(fetchWanted(hub, cacheDir, { revision: '' }), { code: 'ERR_INVALID_ARGUMENT', message: /for revision/ })
  await t.throwsAsync(fetchWanted(hub, cacheDir, { token: 5 as never }), { code: 'ERR_INVALID_ARGUMENT', message: /for token/ })
  t.deepEqual(hub.requests, [])
})

test('a cache folder that Python filled is used as it is', async (t) => {
  await using hub = await HubServer.start(files)
  const cacheDir = await cacheFolder(t)
  const snapshot = join(cacheDir, 'models--org--tiny', 'snapshots', COMMIT)
  await mkdir(join(snapshot, 'unet'), { recursive: true })
  for (const [path, content] of Object.entries(files)) {
    await writeFile(join(snapshot, path), content)
  }
  t.is(await fetchWanted(hub, cacheDir), snapshot)
  t.deepEqual(hub.downloads, [])
})
