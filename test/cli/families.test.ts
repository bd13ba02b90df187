import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import sharp from 'sharp'
import { type GenerationParameters, parseParameters } from '../../ts/index.ts'
import { command } from './command.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const adapters = join(root, 'test', 'fixtures', 'adapters')
const pipelines = join(root, 'test', 'fixtures', 'parity', 'pipelines')
const picture = (name: string): string => join(root, 'examples', 'pictures', name)
const cwd = await mkdtemp(join(tmpdir(), 'node-diffusion-families-'))
test.after.always(() => rm(cwd, { recursive: true, force: true }))

const prompt = 'a red shape on a blue background'

/** Generates, and returns what the picture says that it was made with. */
async function generate(
  out: string,
  args: readonly string[],
  text = prompt,
): Promise<{ parameters: GenerationParameters; stderr: string }> {
  const { code, stderr } = await command(['generate', text, '--seed', '5', '--out', out, ...args], cwd)
  if (code !== 0) {
    throw new Error(stderr)
  }
  return { parameters: await parseParameters(join(cwd, out)), stderr }
}

/** Mean of red minus blue inside and outside of a disc, by shares of the picture. */
async function redness(path: string, disc: { x: number; y: number; r: number }): Promise<{ inside: number; outside: number }> {
  const { data, info } = await sharp(path).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const sums = { inside: [0, 0], outside: [0, 0] }
  for (let i = 0; i < info.width * info.height; i++) {
    const [x, y] = [(i % info.width) / info.width, Math.floor(i / info.width) / info.height]
    const sum = Math.hypot(x - disc.x, y - disc.y) < disc.r ? sums.inside : sums.outside
    sum[0] = (sum[0] ?? 0) + (data[i * 3] ?? 0) - (data[i * 3 + 2] ?? 0)
    sum[1] = (sum[1] ?? 0) + 1
  }
  const mean = ([sum = 0, count = 1]: number[]): number => sum / count
  return { inside: mean(sums.inside), outside: mean(sums.outside) }
}

test.serial('--lora with a weight and --embedding, which --from says that it does not bring', async (t) => {
  const flags = ['--lora', `${join(adapters, 'night.safetensors')}:0.75`, '--embedding', join(adapters, 'easy-dull.pt'), '--steps', '2']
  const { parameters } = await generate('night.png', [...flags, '--negative-prompt', 'easy-dull'])
  t.like(parameters.loras?.[0], { name: 'night', weight: 0.75 })
  t.like(parameters.textualInversions?.[0], { token: 'easy-dull' })
  const again = await command(['generate', '--from', 'night.png', '--out', 'plain.png'], cwd)
  t.regex(again.stderr, /The picture was made with night:0\.75, which --from does not bring: give --lora\n/)
  t.regex(again.stderr, /made with easy-dull, which --from does not bring: give --embedding\n/)
  t.is((await parseParameters(join(cwd, 'plain.png'))).loras, undefined)
})

test.serial('--controlnet follows its --control-image', async (t) => {
  const disc = { x: 0.7, y: 0.3, r: 0.2 }
  const svg = '<svg width="128" height="128"><rect width="128" height="128"/><circle cx="90" cy="38" r="26" fill="#fff"/></svg>'
  await sharp(Buffer.from(svg)).png().toFile(join(cwd, 'disc.png'))
  const flags = ['--controlnet', join(adapters, 'silhouette'), '--control-image', 'disc.png', '--control-scale', '1.1', '--steps', '12']
  const { parameters } = await generate('controlled.png', flags)
  t.like(parameters.controls?.[0], { kind: 'controlnet', model: 'silhouette', weight: 1.1 })
  const { inside, outside } = await redness(join(cwd, 'controlled.png'), disc)
  t.true(inside > 80, `red within the disc: ${inside}`)
  t.true(outside < -80, `blue around it: ${outside}`)
})

test.serial('--ip-adapter with --image-prompt and --negative-image', async (t) => {
  const flags = ['--ip-adapter', join(adapters, 'image-prompt', 'ip-adapter.safetensors'), '--steps', '10']
  const images = ['--image-prompt', picture('circle.png'), '--negative-image', picture('square.png'), '--ip-scale', '0.9']
  const { parameters } = await generate('like.png', [...flags, ...images], '')
  t.like(parameters.controls?.[0], { kind: 'ip-adapter', model: 'ip-adapter', weight: 0.9 })
  const { data } = await sharp(join(cwd, 'like.png'))
    .resize(1, 1, { kernel: 'cubic' })
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  t.true((data[2] ?? 0) > (data[1] ?? 0) + 40, `a blue background, as in the picture: ${[...data]}`)
})

test.serial('--refiner runs the last part of the steps, with the text encoder and the autoencoder of the first model', async (t) => {
  const refiner = join(pipelines, 'tiny-sdxl-refiner')
  const base = ['--model', join(pipelines, 'tiny-sdxl'), '--width', '16', '--height', '16', '--steps', '4']
  const { stderr } = await generate('refined.png', [...base, '--refiner', refiner, '--refiner-start', '0.5'])
  t.regex(stderr, /step 2\/2\n[\s\S]*step 2\/2\n/)
})

test.serial('--model reads a single file, of which --config tells what its keys do not', async (t) => {
  const [file, configs] = [join(cwd, 'shapes.safetensors'), join(root, 'models', 'shapes')]
  const converted = await command(['convert', configs, file], cwd)
  t.is(converted.code, 0, converted.stderr)
  const steps = ['--steps', '3']
  await generate('folder.png', steps)
  await generate('file.png', ['--model', file, '--config', configs, ...steps])
  t.deepEqual(await sharp(join(cwd, 'file.png')).raw().toBuffer(), await sharp(join(cwd, 'folder.png')).raw().toBuffer())
  const { code, stderr } = await command(['generate', prompt, '--model', file, '--variant', 'fp16'], cwd)
  t.is(code, 2)
  t.regex(stderr, /^--variant can be used only with a folder or a model of the hub, but --model is the file /)
})

test.serial('--motion-adapter makes a video of --frames', async (t) => {
  const flags = ['--motion-adapter', join(adapters, 'motion'), '--frames', '4', '--fps', '5', '--steps', '2', '--out', 'moving.webp']
  const { code, stderr } = await command(['generate', prompt, '--seed', '5', ...flags], cwd)
  t.is(code, 0, stderr)
  const { pages, delay, width } = await sharp(join(cwd, 'moving.webp'), { animated: true }).metadata()
  t.deepEqual({ pages, delay, width }, { pages: 4, delay: [200, 200, 200, 200], width: 128 })
})

test.serial('--upscale and --hires-scale make larger pictures', async (t) => {
  const common = ['--image', picture('circle.png'), '--steps', '4']
  await generate('larger.png', [...common, '--upscale', '1.5'])
  t.is((await sharp(join(cwd, 'larger.png')).metadata()).width, 192)
  const { parameters, stderr } = await generate('tiled.png', [...common, '--upscale', '1.5', '--tile', '128'])
  t.regex(stderr, /step 4\/4\n/)
  t.regex(stderr, /Wrote tiled\.png \(192 x 192, seed 5\)\n/)
  t.like(parameters, { prompt, seed: 5, width: 192, height: 192, tile: 128, strength: 0.3 })
  await generate('hires.png', ['--hires-scale', '1.5', '--hires-strength', '0.6', '--steps', '3'])
  t.is((await sharp(join(cwd, 'hires.png')).metadata()).width, 192)
})

const mistakes: [name: string, args: string[], sentence: RegExp][] = [
  [
    'a LoRA that is not there',
    ['--lora', 'nowhere.safetensors:0.5'],
    /^Expected an existing file .* for --lora but received "nowhere\.safetensors"\n/,
  ],
  ['a weight in words', ['--lora', `${join(adapters, 'night.safetensors')}:much`], /^Expected a number behind the colon for --lora/],
  ['an embedding that is not there', ['--embedding', ''], /^Expected an existing file .* for --embedding but received ""\n/],
  [
    'a ControlNet without its picture',
    ['--controlnet', adapters],
    /^Expected as many --control-image as --controlnet but received 0 and 1\n/,
  ],
  [
    'a ControlNet that is not there',
    ['--controlnet', 'x', '--control-image', picture('circle.png')],
    /^Expected .* for --controlnet but received "x"\n/,
  ],
  ['an image prompt alone', ['--image-prompt', picture('circle.png')], /^Expected --ip-adapter <file> with --image-prompt/],
  [
    'an IP-Adapter that is not there',
    ['--ip-adapter', 'x.bin', '--image-prompt', picture('circle.png')],
    /for --ip-adapter but received "x\.bin"\n/,
  ],
  ['a refiner that is not there', ['--refiner', 'nowhere'], /for --refiner but received "nowhere"\n/],
  ['a motion adapter that is not there', ['--motion-adapter', 'nowhere'], /for --motion-adapter but received "nowhere"\n/],
  ['--config with a folder', ['--config', adapters], /^--config can be used only with a single file, but --model is "shapes"\n/],
  ['--upscale without a picture', ['--upscale', '2'], /^--upscale can be used only with --image/],
  [
    'tiles that are no multiple of 8',
    ['--image', picture('circle.png'), '--upscale', '2', '--tile', '100'],
    /^Expected a multiple of 8 for --tile but received 100\n/,
  ],
  [
    'several enlarged pictures',
    ['--image', picture('circle.png'), '--upscale', '2', '--count', '2'],
    /^--count cannot be used with --upscale/,
  ],
  ['too much', ['--image', picture('circle.png'), '--upscale', '99'], /for --upscale but received "99"\n/],
]

for (const [name, args, sentence] of mistakes) {
  test.serial(`one sentence for ${name}`, async (t) => {
    const { code, stdout, stderr } = await command(['generate', 'x', ...args], cwd)
    t.regex(stderr, sentence)
    t.is(code, 2)
    t.is(stdout, '')
    t.is(stderr.trim().split('\n').length, 1)
  })
}
