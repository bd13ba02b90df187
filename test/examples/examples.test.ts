import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { localFolder } from '../../ts/models/source.ts'
import { filesOf, HubServer } from '../hub/hub-server.ts'
import { root, runPrograms } from '../programs.ts'

const folder = join(root, 'examples')
const programs = (await readdir(folder)).filter((name) => name.endsWith('.ts'))
const fewSteps = 4
const sources = await Promise.all(programs.map((name) => readFile(join(folder, name), 'utf8')))
const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-examples-'))
const hub = await HubServer.start(filesOf((await localFolder('shapes')) ?? ''))
test.after.always(async () => {
  await hub[Symbol.asyncDispose]()
  await rm(scratch, { recursive: true, force: true })
})
process.env.HF_ENDPOINT = hub.endpoint

/** What an example needs beside the number of steps and the place for its files. */
const more: Record<string, string[]> = {
  'hub.ts': ['--model', 'org/tiny', '--cache', join(scratch, 'cache')],
  'video.ts': ['--frames', '4'],
}

const running = runPrograms(
  programs.map((name, i) => {
    const steps = sources[i]?.includes('steps: { type:') ? ['--steps', String(fewSteps)] : []
    return { file: join(folder, name), args: [...steps, ...(more[name] ?? []), '--out', join(scratch, name)], cwd: root }
  }),
)

test('there are examples', (t) => {
  t.true(programs.length >= 20)
})

test('examples/README.md lists every example', async (t) => {
  const readme = await readFile(join(folder, 'README.md'), 'utf8')
  t.deepEqual(
    programs.filter((name) => !readme.includes(`(${name})`)),
    [],
  )
})

for (const [i, name] of programs.entries()) {
  test(name, async (t) => {
    t.timeout(1_800_000) // all examples run one after the other, and the last waits for all
    t.true((sources[i]?.split('\n').length ?? 0) <= 60, 'an example stays short')
    const finished = await running[i]
    t.is(finished?.error, undefined, finished?.output)

    const written = (await readdir(join(scratch, name), { recursive: true })).filter((file) => /\.\w+$/.test(file))
    t.true(written.length > 0, 'an example writes something')
    for (const file of written) {
      const path = join(scratch, name, file)
      if (file.endsWith('.png')) t.true(await shows(path), `${file} is blank`)
      else t.true((await stat(path)).size > 100, `${file} is empty`)
    }
  })
}

test('the example of the hub downloads', async (t) => {
  t.timeout(1_800_000)
  await running[programs.indexOf('hub.ts')]
  t.true(hub.downloads.includes('unet/diffusion_pytorch_model.safetensors'))
})

/** True unless a picture has one colour only. */
async function shows(path: string): Promise<boolean> {
  const { channels } = await sharp(path).stats()
  return channels.some(({ stdev }) => stdev > 1)
}
