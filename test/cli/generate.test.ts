import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { parseParameters } from '../../ts/index.ts'
import { command, start } from './command.ts'

const cwd = await mkdtemp(join(tmpdir(), 'node-diffusion-generate-'))
test.after.always(() => rm(cwd, { recursive: true, force: true }))

const prompt = 'a red circle on a blue background'

type Output = {
  images: { path: string; seed: number; width: number; height: number }[]
  grid?: string
  timings: Record<string, number>
  task: string
}

test.serial('a picture with four steps: where it is, its seed, and how long each stage took', async (t) => {
  const { code, stdout, stderr } = await command(['generate', prompt, '--steps', '4', '--seed', '7', '--out', 'deep/circle.png'], cwd)
  t.is(code, 0, stderr)
  t.is(stdout, '')
  t.regex(stderr, /step 4\/4\n/)
  t.regex(stderr, /Wrote deep\/circle\.png \(128 x 128, seed 7\)\nload .*, encode .*, denoise .*, decode .*, write .*, total /)
  t.deepEqual(await readdir(join(cwd, 'deep')), ['circle.png'])
  const parameters = await parseParameters(join(cwd, 'deep', 'circle.png'))
  t.like(parameters, { prompt, seed: 7, numInferenceSteps: 4, width: 128, height: 128 })
})

test.serial('a picture made again from its own file is the same file', async (t) => {
  const { code, stderr } = await command(['generate', '--from', 'deep/circle.png', '--out', 'again.png', '--quiet', '--threads', '1'], cwd)
  t.is(code, 0, stderr)
  t.deepEqual(await readFile(join(cwd, 'again.png')), await readFile(join(cwd, 'deep', 'circle.png')))
})

test.serial('several pictures, grid, previews and JSON', async (t) => {
  const args = ['generate', prompt, '--steps', '2', '--seed', '1', '--count', '2', '--grid', '--preview', '1', '--json', '--out', 'many/']
  const { code, stdout, stderr } = await command(args, cwd)
  t.is(code, 0, stderr)
  const { images, grid, timings, task } = JSON.parse(stdout) as Output
  t.is(task, 'textToImage')
  t.deepEqual(
    images.map(({ seed }) => seed),
    [1, 2],
  )
  t.true(images.every(({ path }) => existsSync(path)) && existsSync(grid ?? ''))
  t.true((timings.total ?? 0) > (timings.denoise ?? 0))
  t.is((await readdir(join(cwd, 'many'))).filter((name) => name.includes('-step-')).length, 4)
})

test.serial('from a picture, and into its mask', async (t) => {
  const image = ['--image', 'deep/circle.png', '--steps', '3', '--seed', '1', '--json']
  const redrawn = await command(['generate', 'a yellow square', ...image, '--strength', '0.5', '--out', 'redrawn.jpg'], cwd)
  t.is(redrawn.code, 0, redrawn.stderr)
  t.is((JSON.parse(redrawn.stdout) as Output).task, 'imageToImage')
  const filled = await command(['generate', 'a yellow square', ...image, '--mask', 'deep/circle.png', '--out', 'filled.webp'], cwd)
  t.is(filled.code, 0, filled.stderr)
  t.is((JSON.parse(filled.stdout) as Output).task, 'inpainting')
  const seen = await command(['inspect', 'redrawn.jpg'], cwd)
  t.regex(seen.stdout, /jpeg picture, 128 x 128\na yellow square\nSteps: 3/)
})

test.serial('inspect says what the built-in model is, from headers only', async (t) => {
  const { code, stdout, stderr } = await command(['inspect', 'shapes'], cwd)
  t.is(code, 0, stderr)
  t.regex(stdout, /unet/)
  t.regex(stdout, /memory for the weights: \d/)
})

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test.serial(`${signal} stops cleanly: exit code, nothing half-written`, async (t) => {
    const run = start(['generate', prompt, '--steps', '500', '--seed', '3', '--out', `stopped-${signal}/x.png`], cwd)
    while (!run.stderr().includes('step ') && run.child.exitCode === null) {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    run.child.kill(signal)
    const { code, stderr } = await run.ended
    t.is(code, signal === 'SIGINT' ? 130 : 143, stderr)
    t.regex(stderr, /Stopping/)
    t.false(/\n\s+at |Expected|Error/.test(stderr), stderr)
    t.false(existsSync(join(cwd, `stopped-${signal}`)))
  })
}
