import { cp, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { AutoencoderKL, CLIPTextModel, CLIPTokenizer, Tensor, UNet2DConditionModel } from '../../ts/index.ts'
import { assertRefused, type Refusal } from './refusals.ts'

const shapes = new URL('../../models/shapes/', import.meta.url)
const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-files-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

let copies = 0

/** A copy of one component of the built-in model, changed by `spoil`. */
async function spoilt(component: string, spoil: (folder: string) => Promise<unknown>): Promise<string> {
  copies += 1
  const folder = join(scratch, `${component}-${copies}`)
  await cp(new URL(component, shapes), folder, { recursive: true })
  await spoil(folder)
  return folder
}

/** Changes keys of a component's config. */
function configured(keys: Record<string, unknown>): (folder: string) => Promise<void> {
  return async (folder) => {
    const path = join(folder, 'config.json')
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...keys }))
  }
}

const weights = 'diffusion_pytorch_model.safetensors'

/** Replaces the weights by a file with this header, whose length is written as given or as it is. */
function headed(header: string, { length = BigInt(Buffer.byteLength(header)), body = 64 } = {}): (folder: string) => Promise<void> {
  return (folder) => {
    const size = Buffer.alloc(8)
    size.writeBigUInt64LE(length)
    return writeFile(join(folder, weights), Buffer.concat([size, Buffer.from(header), Buffer.alloc(body)]))
  }
}

const tensor = (dtype: string, shape: number[], offsets: number[]): object => ({ dtype, shape, data_offsets: offsets })

test('configs that are missing, broken or not supported', async (t) => {
  const load = (spoil: (folder: string) => Promise<unknown>) => async () => UNet2DConditionModel.fromPretrained(await spoilt('unet', spoil))
  const text = (content: string) => (folder: string) => writeFile(join(folder, 'config.json'), content)
  const refusals: Refusal[] = [
    ['no config.json', load((folder) => rm(join(folder, 'config.json'))), 'ERR_CONFIG', /config\.json/],
    ['an empty config.json', load(text('')), 'ERR_CONFIG', /config\.json/],
    ['half a config.json', load(text('{"in_channels": 4,')), 'ERR_CONFIG', /config\.json/],
    ['a list', load(text('[]')), 'ERR_CONFIG', /an array/],
    ['text where a number belongs', load(configured({ in_channels: 'four' })), 'ERR_CONFIG', /in_channels.*four/s],
    ['a negative number', load(configured({ in_channels: -4 })), 'ERR_CONFIG', /in_channels|-4/],
    ['zero groups', load(configured({ norm_num_groups: 0 })), 'ERR_CONFIG', /norm_num_groups/],
    ['groups that do not divide', load(configured({ norm_num_groups: 7 })), 'ERR_CONFIG', /norm_num_groups.*7/s],
    ['an unknown block', load(configured({ mid_block_type: 'UNetMidBlock3D' })), 'ERR_CONFIG', /mid_block_type.*UNetMidBlock3D/s],
    ['an unknown activation', load(configured({ act_fn: 'tanhshrink' })), 'ERR_CONFIG', /act_fn.*tanhshrink/s],
    ['another number of blocks', load(configured({ up_block_types: ['UpBlock2D'] })), 'ERR_CONFIG', /up_block_types/],
    [
      'an unsupported encoder',
      load(configured({ encoder_hid_dim_type: 'text_image_proj' })),
      'ERR_CONFIG',
      /encoder_hid_dim_type.*text_image_proj/s,
    ],
  ]
  await assertRefused(t, refusals)
})

test('weights that are missing or damaged', async (t) => {
  const load = (spoil: (folder: string) => Promise<unknown>) => async () => AutoencoderKL.fromPretrained(await spoilt('vae', spoil))
  const one = (value: object): string => JSON.stringify({ x: value })
  const refusals: Refusal[] = [
    ['no file', load((folder) => rm(join(folder, weights))), 'ERR_WEIGHTS', /safetensors/],
    ['an empty file', load((folder) => truncate(join(folder, weights), 0)), 'ERR_WEIGHTS', /safetensors/],
    ['seven bytes', load((folder) => truncate(join(folder, weights), 7)), 'ERR_WEIGHTS', /safetensors/],
    ['half a header', load((folder) => truncate(join(folder, weights), 100)), 'ERR_WEIGHTS', /safetensors/],
    ['half the data', load((folder) => truncate(join(folder, weights), 1_000_000)), 'ERR_WEIGHTS', /safetensors/],
    ['an oversized header', load(headed('{}', { length: 2n ** 60n })), 'ERR_WEIGHTS', /safetensors/],
    [
      'text',
      load((folder) => writeFile(join(folder, weights), 'version https://git-lfs.github.com/spec/v1\n')),
      'ERR_WEIGHTS',
      /safetensors/,
    ],
    ['a header that is no JSON', load(headed('{"x": ')), 'ERR_WEIGHTS', /safetensors/],
    ['an unknown dtype', load(headed(one(tensor('Q4', [4], [0, 16])))), 'ERR_WEIGHTS', /safetensors/],
    ['offsets beyond the end', load(headed(one(tensor('F32', [64], [0, 256])))), 'ERR_WEIGHTS', /safetensors/],
    ['offsets that run backwards', load(headed(one(tensor('F32', [4], [16, 0])))), 'ERR_WEIGHTS', /safetensors/],
    ['a shape that does not fit the offsets', load(headed(one(tensor('F32', [5], [0, 16])))), 'ERR_WEIGHTS', /safetensors/],
    [
      'overlapping tensors',
      load(headed(JSON.stringify({ a: tensor('F32', [8], [0, 32]), b: tensor('F32', [8], [16, 48]) }))),
      'ERR_WEIGHTS',
      /safetensors/,
    ],
  ]
  await assertRefused(t, refusals)
})

test('weights that do not fit the config name the first keys', async (t) => {
  const refusals: Refusal[] = [
    [
      'a wider UNet',
      async () => UNet2DConditionModel.fromPretrained(await spoilt('unet', configured({ block_out_channels: [64, 96, 160] }))),
      'ERR_WEIGHTS',
      /down_blocks\.0.*expected \[64\], found \[32\]/,
    ],
    [
      'a deeper UNet',
      async () => UNet2DConditionModel.fromPretrained(await spoilt('unet', configured({ layers_per_block: 2 }))),
      'ERR_WEIGHTS',
      /down_blocks\.0\.(resnets|attentions)\.1/,
    ],
    [
      'a deeper text encoder',
      async () => CLIPTextModel.fromPretrained(await spoilt('text_encoder', configured({ num_hidden_layers: 3 }))),
      'ERR_WEIGHTS',
      /layers\.2/,
    ],
    [
      'no weights of the VAE at all',
      async () => AutoencoderKL.fromPretrained(await spoilt('vae', headed(JSON.stringify({ x: tensor('F32', [16], [0, 64]) })))),
      'ERR_WEIGHTS',
      /keys are missing: encoder\.down_blocks/,
    ],
  ]
  await assertRefused(t, refusals)
})

test('tokenizer files that are missing or broken', async (t) => {
  const load = (spoil: (folder: string) => Promise<unknown>) => async () => CLIPTokenizer.fromPretrained(await spoilt('tokenizer', spoil))
  const refusals: Refusal[] = [
    ['no vocabulary', load((folder) => rm(join(folder, 'vocab.json'))), 'ERR_CONFIG', /vocab\.json/],
    ['no merges', load((folder) => rm(join(folder, 'merges.txt'))), 'ERR_CONFIG', /merges\.txt/],
    ['half a vocabulary', load((folder) => truncate(join(folder, 'vocab.json'), 1000)), 'ERR_CONFIG', /vocab\.json/],
    ['an empty vocabulary', load((folder) => writeFile(join(folder, 'vocab.json'), '{}')), 'ERR_CONFIG', /vocabulary|vocab\.json/],
    ['merges of one part', load((folder) => writeFile(join(folder, 'merges.txt'), '#version: 0.2\nabc\n')), 'ERR_CONFIG', /merges\.txt/],
  ]
  await assertRefused(t, refusals)
})

test('tensor files that are damaged, and nothing half-written', async (t) => {
  const path = join(scratch, 'x.safetensors')
  await Tensor.saveSafetensors(path, { x: Tensor.ones([4]) })
  await truncate(path, 20)
  await assertRefused(t, [['truncated', () => Tensor.loadSafetensors(path), 'ERR_WEIGHTS', /x\.safetensors/]])
})
