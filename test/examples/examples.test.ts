import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { root, runProgram } from '../child-process.ts'

const folder = join(root, 'examples')
const programs = (await readdir(folder)).filter((name) => name.endsWith('.ts'))
const fewSteps = 4

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

for (const name of programs) {
  test(name, async (t) => {
    t.timeout(240_000)
    const source = await readFile(join(folder, name), 'utf8')
    t.true(source.split('\n').length <= 62, 'an example stays short')
    const out = await mkdtemp(join(tmpdir(), 'node-diffusion-example-'))
    t.teardown(() => rm(out, { recursive: true, force: true }))

    const steps = source.includes('steps: { type:') ? ['--steps', String(fewSteps)] : []
    const { code, output } = await runProgram(join(folder, name), [...steps, '--out', out])
    t.is(code, 0, output)

    const written = (await readdir(out, { recursive: true })).filter((file) => /\.\w+$/.test(file))
    t.true(written.length > 0, 'an example writes something')
    for (const file of written) {
      const path = join(out, file)
      if (file.endsWith('.png')) t.true(await shows(path), `${file} is blank`)
      else t.true((await stat(path)).size > 100, `${file} is empty`)
    }
  })
}

/** True unless a picture has one colour only. */
async function shows(path: string): Promise<boolean> {
  const { channels } = await sharp(path).stats()
  return channels.some(({ stdev }) => stdev > 1)
}
