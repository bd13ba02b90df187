import { copyFile, mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import test from 'ava'
import {
  AutoencoderTiny,
  ConfigError,
  ControlNetModel,
  ControlNetUnionModel,
  convertCheckpoint,
  InvalidArgumentError,
  StableDiffusionPipeline,
  Tensor,
  WeightsError,
} from '../../ts/index.ts'
import { componentConfig, openSingleFile, type Part } from '../../ts/weights/single-file.ts'

const fixtures = fileURLToPath(new URL('../fixtures/weights/lone_files', import.meta.url))
const shapesModel = fileURLToPath(new URL('../../models/shapes', import.meta.url))
const networks = JSON.parse(gunzipSync(await readFile(join(fixtures, 'networks.json.gz'))).toString()) as Record<
  string,
  { config: Record<string, unknown>; shapes: Record<string, number[]> }
>
const folder = await mkdtemp(join(tmpdir(), 'nd-lone-files-'))
test.after.always(() => rm(folder, { recursive: true, force: true }))

/** A file with the names and shapes of a published network; its numbers are a hole in the file. */
async function hollow(name: string, rename = (key: string) => key): Promise<string> {
  const header: Record<string, object> = {}
  let end = 0
  for (const [key, shape] of Object.entries(networks[name]?.shapes ?? {})) {
    const start = end
    end += 2 * shape.reduce((product, size) => product * size, 1)
    header[rename(key)] = { dtype: 'F16', shape, data_offsets: [start, end] }
  }
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  const path = join(folder, `${name}.safetensors`)
  const file = await open(path, 'w')
  await file.writeFile(Buffer.concat([length, text]))
  await file.truncate(8 + text.length + end)
  await file.close()
  return path
}

const PARTS: Readonly<Record<string, Part>> = { controlnet: 'controlnet', unet: 'unet', motion: 'motion_adapter' }

for (const name of Object.keys(networks)) {
  test(`names and shapes tell the config of ${name}`, async (t) => {
    const file = await openSingleFile(await hollow(name))
    const part = PARTS[name.split('-')[0] ?? ''] ?? 'unet'
    const config = await componentConfig(file, part)
    t.deepEqual(file.facts.parts, [part])
    t.like(config, networks[name]?.config ?? {})
  })
}

test('a ControlNet of the other kind is refused with the name of its class', async (t) => {
  const message = /Expected a ControlNetModel in .* but received a ControlNetUnionModel: load it by ControlNetUnionModel.fromSingleFile/
  await t.throwsAsync(hollow('controlnet-union').then(ControlNetModel.fromSingleFile), { instanceOf: ConfigError, message })
  await t.throwsAsync(hollow('controlnet-sd15').then(ControlNetUnionModel.fromSingleFile), { instanceOf: ConfigError })
})

const [encoder, decoder, both] = ['taesd_encoder', 'taesd_decoder', 'taesd'].map((name) => join(fixtures, `${name}.safetensors`)) as [
  string,
  string,
  string,
]

for (const [how, path] of [
  ['two files', [encoder, decoder]],
  ['two files the other way round', [decoder, encoder]],
  ['one file', both],
] as const) {
  test(`TAESD in its own names and ${how} answers as in diffusers`, async (t) => {
    const golden = await Tensor.loadSafetensors(join(fixtures, 'golden.safetensors'))
    await using vae = await AutoencoderTiny.fromSingleFile(path, { config: fixtures, dtype: 'f32' })
    const { latents } = await vae.encode(golden.image as Tensor)
    const { sample } = await vae.decode(golden.latents as Tensor)
    // f32 sums in another order than torch's, of values up to about 3.
    t.true(
      Number(
        latents
          .sub(golden.encoded as Tensor)
          .abs()
          .max()
          .item(),
      ) < 1e-5,
    )
    t.true(
      Number(
        sample
          .sub(golden.decoded as Tensor)
          .abs()
          .max()
          .item(),
      ) < 1e-5,
    )
  })
}

test('one half of TAESD alone is refused, and two files are saved as one', async (t) => {
  const message = /Expected an encoder and a decoder for path but received .* with decoder: give both files/
  await t.throwsAsync(AutoencoderTiny.fromSingleFile(decoder, { config: fixtures }), { instanceOf: ConfigError, message })
  await t.throwsAsync(AutoencoderTiny.fromSingleFile([encoder, encoder], { config: fixtures }), { instanceOf: ConfigError })
  await using vae = await AutoencoderTiny.fromSingleFile([encoder, decoder], { config: fixtures })
  await vae.savePretrained(join(folder, 'tiny'))
  const saved = await Tensor.loadSafetensors(join(folder, 'tiny', 'diffusion_pytorch_model.safetensors'))
  const [first, second] = await Promise.all([encoder, decoder].map((path) => Tensor.loadSafetensors(path)))
  t.deepEqual(saved['encoder.layers.0.weight']?.toArray(), first?.['0.weight']?.toArray())
  t.deepEqual(saved['decoder.layers.0.weight']?.toArray(), second?.['1.weight']?.toArray())
})

test('a TAESD file becomes a folder, and the folder a file, without a changed bit', async (t) => {
  const [out, back] = [join(folder, 'taesd'), join(folder, 'taesd-again.safetensors')]
  await convertCheckpoint(both, out, { config: fixtures })
  await convertCheckpoint(out, back)
  await using first = await AutoencoderTiny.fromPretrained(out, { dtype: 'f32' })
  await using second = await AutoencoderTiny.fromSingleFile(back, { config: fixtures, dtype: 'f32' })
  const golden = await Tensor.loadSafetensors(join(fixtures, 'golden.safetensors'))
  await using direct = await AutoencoderTiny.fromSingleFile(both, { config: fixtures, dtype: 'f32' })
  const { sample } = await direct.decode(golden.latents as Tensor)
  for (const vae of [first, second]) {
    t.deepEqual((await vae.decode(golden.latents as Tensor)).sample.toArray(), sample.toArray())
  }
})

test('files that are no part of a pipeline are refused with what takes them', async (t) => {
  const prompt = fileURLToPath(new URL('../fixtures/adapters/image-prompt/ip-adapter.safetensors', import.meta.url))
  const night = fileURLToPath(new URL('../fixtures/adapters/night.safetensors', import.meta.url))
  const refusals = [
    [prompt, /but received ip-adapter, which pipe.loadIpAdapter\(\) takes/],
    [night, /but received lora, which pipe.loadLoraWeights\(\) takes/],
  ] as const
  for (const [path, message] of refusals) {
    await t.throwsAsync(StableDiffusionPipeline.fromSingleFile(path), { instanceOf: ConfigError, message })
  }
  const alone = join(folder, 'alone', 'ip-adapter.safetensors')
  await mkdir(join(folder, 'alone'))
  await copyFile(prompt, alone)
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  t.true((pipe.loadMs ?? 0) > 0)
  await t.throwsAsync(pipe.loadIpAdapter(alone), {
    instanceOf: InvalidArgumentError,
    message:
      /Expected a folder with the image encoder beside .*alone.ip-adapter.safetensors, .* for imageEncoderFolder but received "image_encoder"/,
  })
  await t.throwsAsync(pipe.loadLoraWeights(alone), { instanceOf: WeightsError, message: /what looks like an IP-Adapter/ })
  await t.notThrowsAsync(pipe.loadIpAdapter(alone, { imageEncoderFolder: null }))
  await t.notThrowsAsync(pipe.loadIpAdapter(prompt))
})

test('averaged weights are taken when they are asked for', async (t) => {
  const [file, out] = [join(folder, 'averaged.safetensors'), join(folder, 'averaged')]
  await convertCheckpoint('shapes', file)
  const tensors = await Tensor.loadSafetensors(file)
  const average = (key: string): string => `model_ema.${key.replace('model.', '').replaceAll('.', '')}`
  const unet = Object.entries(tensors).filter(([key]) => key.startsWith('model.diffusion_model.'))
  const averages = unet.map(([key, tensor]) => [average(key), tensor.mul(0.5)] as const)
  await t.throwsAsync(convertCheckpoint(file, out, { config: shapesModel, extractEma: true }), {
    message: /averaged weights .* extractEma/,
  })
  await Tensor.saveSafetensors(file, { ...tensors, ...Object.fromEntries(averages), 'model_ema.decay': Tensor.zeros([1]) })
  t.deepEqual((await convertCheckpoint(file, out, { config: shapesModel, extractEma: true })).leftOut, {})
  const written = await Tensor.loadSafetensors(join(out, 'unet', 'diffusion_pytorch_model.safetensors'))
  const first = tensors['model.diffusion_model.input_blocks.0.0.weight']
  t.deepEqual(written['conv_in.weight']?.toArray(), first?.mul(0.5).toArray())
  const plain = await convertCheckpoint(file, join(folder, 'last'), { config: shapesModel })
  t.deepEqual(plain.leftOut, { 'averaged weights (EMA)': unet.length + 1 })
})

test('of a file of Stable Diffusion 2 all that a folder keeps comes back, and the rest is told', async (t) => {
  const start = 'cond_stage_model.model.'
  const layer = (i: number): [string, number[]][] => [
    [`transformer.resblocks.${i}.attn.in_proj_weight`, [6, 2]],
    [`transformer.resblocks.${i}.attn.in_proj_bias`, [6]],
    [`transformer.resblocks.${i}.ln_1.weight`, [2]],
  ]
  const text: [string, number[]][] = [
    ['token_embedding.weight', [4, 2]],
    ['ln_final.weight', [1024]],
    ['text_projection', [2, 2]],
    ['logit_scale', []],
    ...Array.from({ length: 24 }, (_, i) => layer(i)).flat(),
  ]
  const unet: [string, number[]][] = [
    ['input_blocks.0.0.weight', [2, 4, 3, 3]],
    ['input_blocks.1.0.in_layers.2.weight', [2, 2, 3, 3]],
    ['input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight', [2, 1024]],
  ]
  const all = [
    ...text.map(([key, shape]) => [start + key, shape] as const),
    ...unet.map(([key, s]) => [`model.diffusion_model.${key}`, s] as const),
  ]
  const values = all.map(([key, shape], i) => {
    const count = shape.reduce((product, size) => product * size, 1)
    return [
      key,
      Tensor.from(
        Float32Array.from({ length: count }, (_, j) => i + j / 7),
        [...shape],
      ),
    ] as const
  })
  const [file, out, back] = [join(folder, 'two.safetensors'), join(folder, 'two'), join(folder, 'back.safetensors')]
  await Tensor.saveSafetensors(file, Object.fromEntries(values))
  const { leftOut } = await convertCheckpoint(file, out)
  t.deepEqual(leftOut, {
    'a text projection that nothing uses': 1,
    'the last of 24 text layers, which Stable Diffusion 2 does not use': 3,
    "the scale of CLIP's training": 1,
  })
  await convertCheckpoint(out, back)
  const again = await Tensor.loadSafetensors(back)
  const kept = values.filter(([key]) => !/resblocks\.23\.|text_projection|logit_scale/.test(key))
  t.deepEqual(Object.keys(again).sort(), kept.map(([key]) => key).sort())
  for (const [key, tensor] of kept) {
    t.deepEqual(again[key]?.toArray(), tensor.toArray(), key)
  }
})
