import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { command } from './command.ts'

const cwd = await mkdtemp(join(tmpdir(), 'node-diffusion-prompts-'))
test.after.always(() => rm(cwd, { recursive: true, force: true }))

test('tokens shows weights and the schedule of a web UI prompt', async (t) => {
  const { code, stdout, stderr } = await command(['tokens', 'a [red:blue:0.5] (circle:1.2)', '--syntax', 'a1111', '--steps', '10'], cwd)
  t.is(code, 0, stderr)
  t.regex(stdout, /circle.*1\.2/)
  t.regex(stdout, /red[\s\S]*blue/)
})

test('generate takes a syntax, a late negative prompt, styles and wildcards', async (t) => {
  await writeFile(join(cwd, 'styles.csv'), 'name,prompt,negative_prompt\nblue,{prompt} on a blue background,red\n')
  await writeFile(join(cwd, 'shape.txt'), 'circle\n')
  const args = ['generate', 'a [red:green:0.5] (__shape__:1.1)', '--prompt-syntax', 'a1111', '--steps', '2', '--seed', '3', '--json']
  const more = [
    '--styles',
    'blue',
    '--styles-file',
    'styles.csv',
    '--wildcards',
    '.',
    '--negative-prompt-from',
    '0.5',
    '--out',
    'styled.png',
  ]
  const { code, stdout, stderr } = await command([...args, ...more], cwd)
  t.is(code, 0, stderr)
  const { images } = JSON.parse(stdout) as { images: { parameters: Record<string, unknown> }[] }
  t.regex(JSON.stringify(images[0]?.parameters), /circle.*on a blue background/)
})

test('mistakes in prompts and their flags are usage errors that show the place', async (t) => {
  for (const [args, sentence] of [
    [['generate', 'x', '--prompt-syntax', 'a1112'], /--prompt-syntax/],
    [['generate', '(x:1.2.3)', '--prompt-syntax', 'a1111'], /1\.2\.3/],
    [['generate', 'x', '--styles', 'nowhere'], /--styles-file/],
    [['tokens', '(x:1.2.3)', '--syntax', 'a1111'], /1\.2\.3/],
  ] as const) {
    const { code, stderr } = await command([...args], cwd)
    t.is(code, 2, stderr)
    t.regex(stderr, sentence)
  }
})
