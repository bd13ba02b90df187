import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { command } from './command.ts'

const cwd = await mkdtemp(join(tmpdir(), 'node-diffusion-usage-'))
test.after.always(() => rm(cwd, { recursive: true, force: true }))

const mistakes: [name: string, args: string[], sentence: RegExp][] = [
  ['an unknown command', ['generat', 'x'], /^Unknown command 'generat'\. Did you mean generate\?\n/],
  ['an unknown flag', ['generate', 'x', '--sede', '3'], /^Unknown option '--sede'\. Did you mean --seed\?\n/],
  ['a flag without its value', ['generate', 'x', '--seed'], /^Option '--seed <number>' argument missing\n/],
  ['words without quotes', ['generate', 'a', 'red', 'circle'], /quotes/],
  ['no prompt', ['generate'], /^Expected a prompt/],
  ['no steps', ['generate', 'x', '--steps', '0'], /for --steps but received 0\n/],
  ['steps in words', ['generate', 'x', '--steps', 'ten'], /for --steps but received "ten"\n/],
  ['a negative seed', ['generate', 'x', '--seed', '-1'], /for --seed but received -1\n/],
  ['a size of no number', ['generate', 'x', '--width', 'NaN'], /for --width but received "NaN"\n/],
  ['too many pictures', ['generate', 'x', '--count', '1e9'], /for --count but received 1000000000\n/],
  ['strength out of range', ['generate', 'x', '--image', 'a.png', '--strength', '2'], /for --strength but received 2\n/],
  ['strength without a picture', ['generate', 'x', '--strength', '0.5'], /^--strength can be used only with --image/],
  ['a mask without a picture', ['generate', 'x', '--mask', 'a.png'], /^Expected --image <picture> with --mask/],
  [
    'a missing picture',
    ['generate', 'x', '--image', 'nowhere.png'],
    /^Expected an existing image file for --image but received "nowhere.png"\n/,
  ],
  ['a missing model', ['generate', 'x', '--model', './nowhere'], /for --model but received "\.\/nowhere"\n/],
  ['an unknown scheduler', ['generate', 'x', '--scheduler', 'Eulre'], /for --scheduler but received "Eulre".*Euler/],
  ['an unknown format', ['generate', 'x', '--out', 'x.bmp'], /for --out but received "x\.bmp"\n/],
  ['an unknown dtype', ['generate', 'x', '--dtype', 'f8'], /f32, f16, bf16, int8, fast, auto/],
  ['no threads', ['generate', 'x', '--threads', '0'], /for --threads but received "0"\n/],
  ['a picture without parameters', ['generate', '--from', 'nowhere.png'], /"nowhere\.png"/],
  ['nothing to inspect', ['inspect', 'nowhere'], /for path but received "nowhere"\n/],
  ['an unknown scheduler to show', ['schedulers', 'Eulre'], /"Eulre"/],
  ['a schedule of no steps', ['schedulers', 'Euler', '--steps', 'x'], /for --steps but received "x"\n/],
]

for (const [name, args, sentence] of mistakes) {
  test.serial(`exit code 2 and one sentence for ${name}`, async (t) => {
    const { code, stdout, stderr } = await command(args, cwd)
    t.regex(stderr, sentence)
    t.is(code, 2)
    t.is(stdout, '')
    t.false(/\n\s+at /.test(stderr), stderr)
    t.deepEqual(await readdir(cwd), [])
  })
}

test.serial('with --json a mistake is an object, too', async (t) => {
  const { code, stdout } = await command(['generate', 'x', '--steps', '0', '--json'], cwd)
  t.is(code, 2)
  const { error } = JSON.parse(stdout) as { error: { code: string; message: string } }
  t.is(error.code, 'ERR_USAGE')
  t.regex(error.message, /--steps/)
})

test.serial('--help and --version', async (t) => {
  const help = await command(['--help'], cwd)
  t.is(help.code, 0)
  t.regex(help.stdout, /Examples:\n {2}\$ node-diffusion generate "a red circle/)
  const generate = await command(['generate', '--help'], cwd)
  t.is(generate.code, 0)
  for (const flag of [
    '--image',
    '--mask',
    '--strength',
    '--count',
    '--seed',
    '--scheduler',
    '--steps',
    '--guidance-scale',
    '--negative-prompt',
    '--json',
    '--preview',
  ]) {
    t.true(generate.stdout.includes(flag), flag)
  }
  const version = await command(['--version'], cwd)
  t.regex(version.stdout, /^\d+\.\d+\.\d+\n$/)
})

test.serial('doctor, schedulers and tokens', async (t) => {
  const doctor = await command(['doctor'], cwd)
  t.is(doctor.code, 0)
  t.regex(doctor.stdout, /native +loaded/)
  t.regex(doctor.stdout, /tried +\S+\.node: found/)
  const broken = await command(['doctor', '--json'], cwd, { NAPI_RS_NATIVE_LIBRARY_PATH: '/nowhere.node' })
  t.regex(broken.stdout, /"\/nowhere\.node \(NAPI_RS_NATIVE_LIBRARY_PATH\): no such file"/)
  const all = await command(['schedulers'], cwd)
  t.regex(all.stdout, /DPMSolverMultistepScheduler.*DPM\+\+ 2M, dpmpp_2m/)
  const chart = await command(['schedulers', 'DPM++ 2M Karras', '--steps', '12', '--svg', 'chart.svg'], cwd)
  t.regex(chart.stdout, /DPM\+\+ 2M Karras \(DPMSolverMultistepScheduler\), 12 steps, 12 model calls\n/)
  t.is((await readFile(join(cwd, 'chart.svg'), 'utf8')).match(/<circle /g)?.length, 12)
  const one = JSON.parse((await command(['schedulers', 'Euler', '--steps', '3', '--json'], cwd)).stdout) as {
    timesteps: number[]
    sigmas: number[]
  }
  t.is(one.timesteps.length, 3)
  t.true(one.sigmas.every((sigma, i) => i === 0 || sigma < (one.sigmas[i - 1] ?? 0)))
  const tokens = await command(['tokens', 'a red circle'], cwd)
  t.regex(tokens.stdout, /2 +736 +red<\/w>\n[\s\S]*5 of 77 tokens/)
  const long = JSON.parse((await command(['tokens', 'red '.repeat(90), '--json'], cwd)).stdout) as {
    tokens: { kept: boolean }[]
    truncated: string[]
  }
  t.is(long.tokens.filter(({ kept }) => !kept).length, 92 - 76)
  t.true(long.truncated[0]?.startsWith('red'))
})
