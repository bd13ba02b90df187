import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import sharp from 'sharp'
import {
  type Condition,
  ControlNetModel,
  ControlNetUnionModel,
  controlNet,
  controlNetUnion,
  loadImage,
  parseParameters,
  StableDiffusionPipeline,
  StableDiffusionXLPipeline,
  T2IAdapter,
  t2iAdapter,
} from '../../ts/index.ts'
import { command } from './command.ts'

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url))
const [models, pipelines] = [join(fixtures, 'parity', 'models'), join(fixtures, 'parity', 'pipelines')]
const cwd = await mkdtemp(join(tmpdir(), 'node-diffusion-control-'))
test.after.always(() => rm(cwd, { recursive: true, force: true }))

const [disc, edge] = [join(cwd, 'disc.png'), join(cwd, 'edge.png')]
const svg = (body: string): Buffer => Buffer.from(`<svg width="16" height="16"><rect width="16" height="16"/>${body}</svg>`)
test.before(async () => {
  await sharp(svg('<circle cx="9" cy="7" r="5" fill="#fff"/>')).png().toFile(disc)
  await sharp(svg('<path d="M2 14L14 2" stroke="#fa0"/>')).png().toFile(edge)
})

const call = { prompt: 'a red cat', seed: 3, numInferenceSteps: 4, width: 16, height: 16 }
const common = ['--seed', '3', '--steps', '4', '--width', '16', '--height', '16']

/** Pixels of what the command writes. */
async function generate(out: string, args: readonly string[]): Promise<Buffer> {
  const { code, stderr } = await command(['generate', call.prompt, ...common, '--out', out, ...args], cwd)
  if (code !== 0) {
    throw new Error(stderr)
  }
  return sharp(join(cwd, out)).removeAlpha().raw().toBuffer()
}

/** Pixels of the same call from code. */
async function made(pipe: StableDiffusionPipeline | StableDiffusionXLPipeline, conditions: Condition[]): Promise<Buffer> {
  const { images } = await pipe.generate({ ...call, conditions })
  return Buffer.from(images[0].data)
}

test.serial('a ControlNet and a T2I-Adapter act together, each on its picture and with its strength', async (t) => {
  const [net, adapter] = [join(models, 'controlnet'), join(models, 't2i_adapter_half')]
  const pairs = ['--controlnet', net, '--control-image', disc, '--controlnet', adapter, '--control-image', edge]
  const base = ['--model', join(pipelines, 'tiny-sd15')]
  const both = await generate('both.png', [...base, ...pairs, '--control-scale', '0.7', '--control-scale', '1.3'])
  await using pipe = await StableDiffusionPipeline.fromPretrained(join(pipelines, 'tiny-sd15'))
  await using control = await ControlNetModel.fromPretrained(net)
  await using other = await T2IAdapter.fromPretrained(adapter)
  const followed = controlNet(control, { image: await loadImage(disc), scale: 0.7 })
  t.deepEqual(both, await made(pipe, [followed, t2iAdapter(other, { image: await loadImage(edge), scale: 1.3 })]))
  t.notDeepEqual(both, await made(pipe, [followed]))
  const { controls } = await parseParameters(join(cwd, 'both.png'))
  t.like(controls, [
    { kind: 'controlnet', model: 'controlnet', weight: 0.7 },
    { kind: 't2i-adapter', model: 't2i_adapter_half', weight: 1.3 },
  ])
})

test.serial('a union ControlNet reads its pictures together, by --control-mode', async (t) => {
  const folder = join(fixtures, 'families', 'controlnet_union')
  const pairs = ['--controlnet', folder, '--control-image', disc, '--controlnet', folder, '--control-image', edge]
  const base = ['--model', join(pipelines, 'tiny-sdxl')]
  const union = await generate('union.png', [...base, ...pairs, '--control-mode', '1', '--control-mode', '4', '--control-scale', '0.8'])
  await using pipe = await StableDiffusionXLPipeline.fromPretrained(join(pipelines, 'tiny-sdxl'))
  await using net = await ControlNetUnionModel.fromPretrained(folder)
  const images = [await loadImage(disc), await loadImage(edge)]
  t.deepEqual(union, await made(pipe, [controlNetUnion(net, { images, modes: [1, 4], scale: [0.8, 0.8] })]))
  t.notDeepEqual(union, await made(pipe, [controlNetUnion(net, { images, modes: [0, 0], scale: [0.8, 0.8] })]))
})

test.serial('one sentence for controls that do not fit', async (t) => {
  const pair = ['--controlnet', join(models, 'controlnet'), '--control-image', disc]
  const mistakes: [args: string[], sentence: RegExp][] = [
    [[...pair, '--control-scale', 'strong'], /^Expected a number for --control-scale but received "strong"\n/],
    [[...pair, '--control-scale', '1', '--control-scale', '1'], /^Expected at most 1 values for --control-scale but received 2\n/],
    [[...pair, '--control-image', edge], /^Expected as many --control-image as --controlnet but received 2 and 1\n/],
  ]
  for (const [args, sentence] of mistakes) {
    const { code, stderr } = await command(['generate', 'x', '--model', join(pipelines, 'tiny-sd15'), ...args], cwd)
    t.regex(stderr, sentence)
    t.is(code, 2)
  }
})

test.serial('videos are written as GIF and as animated PNG', async (t) => {
  const motion = ['--motion-adapter', join(fixtures, 'adapters', 'motion'), '--frames', '3', '--fps', '10', '--steps', '2', '--seed', '5']
  const gif = await command(['generate', 'a red circle', ...motion, '--out', 'moving.gif'], cwd)
  t.is(gif.code, 0, gif.stderr)
  const { format, pages, delay, pageHeight } = await sharp(join(cwd, 'moving.gif'), { animated: true }).metadata()
  t.deepEqual({ format, pages, delay, pageHeight }, { format: 'gif', pages: 3, delay: [100, 100, 100], pageHeight: 128 })
  const png = await command(['generate', 'a red circle', ...motion, '--out', 'moving.png'], cwd)
  t.is(png.code, 0, png.stderr)
  const bytes = await readFile(join(cwd, 'moving.png'))
  const control = bytes.indexOf('acTL')
  t.true(control > 0, 'the chunk that makes a PNG move')
  t.is(bytes.readUInt32BE(control + 4), 3)
})
