import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { localFolder } from '../../ts/models/source.ts'
import { COMMIT, filesOf, HubServer } from '../hub/hub-server.ts'
import { command } from './command.ts'

test('download brings a model into the cache, and generate draws with it offline', async (t) => {
  await using hub = await HubServer.start(filesOf((await localFolder('shapes')) ?? ''))
  const home = await mkdtemp(join(tmpdir(), 'download-'))
  t.teardown(() => rm(home, { recursive: true, force: true }))
  const env = { HF_HOME: home, HF_ENDPOINT: hub.endpoint, HF_TOKEN: '' }
  const draw = ['generate', 'a red circle', '--model', 'org/tiny', '--steps', '1', '--out', 'circle.png', '--offline']

  const early = await command(draw, home, env)
  t.is(early.code, 1, early.stderr)
  t.regex(early.stderr, /Expected 'org\/tiny' at revision 'main' in .* but received nothing of it/)

  const { code, stdout, stderr } = await command(['download', 'org/tiny'], home, env)
  t.is(code, 0, stderr)
  t.is(stdout.trim(), join(home, 'hub', 'models--org--tiny', 'snapshots', COMMIT))
  t.regex(stderr, /downloading \d+ MB: 100 %/)

  const asked = hub.requests.length
  const drawn = await command(draw, home, env)
  t.is(drawn.code, 0, drawn.stderr)
  t.true((await readdir(home)).includes('circle.png'))
  t.is(hub.requests.length, asked)
})

test('download says what is wrong in one sentence', async (t) => {
  await using hub = await HubServer.start({})
  const home = await mkdtemp(join(tmpdir(), 'download-'))
  t.teardown(() => rm(home, { recursive: true, force: true }))
  const env = { HF_HOME: home, HF_ENDPOINT: hub.endpoint, HF_TOKEN: '' }
  const unknown = await command(['download', 'nobody/nothing'], home, env)
  t.is(unknown.code, 1)
  t.regex(unknown.stderr, /^Expected 'nobody\/nothing' at revision 'main' from .* but received status 404/m)
  const folder = await command(['download', 'not-an-id'], home, env)
  t.is(folder.code, 2)
  t.regex(folder.stderr, /'org\/name' of the hub for dir but received "not-an-id"/)
})
