import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  CLIPVisionModelWithProjection,
  ControlNetModel,
  controlNet,
  formatParameters,
  IPAdapter,
  imagePrompt,
  parseParameters,
  readMetadata,
  StableDiffusionPipeline,
} from '../../ts/index.ts'

const fixtures = fileURLToPath(new URL('../fixtures', import.meta.url))
const parity = join(fixtures, 'parity')
const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-adapters-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 12)

test('LoRAs and textual inversions stand in the picture as the web UI writes them', async (t) => {
  const lora = join(fixtures, 'adapters', 'night.safetensors')
  const embedding = join(fixtures, 'adapters', 'easy-dull.pt')
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  await pipe.loadLoraWeights(lora, { adapterName: 'night' })
  await pipe.loadLoraWeights(lora, { adapterName: 'off' })
  pipe.setAdapters(['night', 'off'], [0.5, 0])
  await pipe.loadTextualInversion(embedding)
  await pipe.loadTextualInversion(embedding, { token: 'unused' })
  const call = { prompt: 'a red star', numInferenceSteps: 1, seed: 1 }
  const made = await pipe.generate({ ...call, negativePrompt: 'EasyDull, blurry' })

  const bytes = await readFile(lora)
  const loraHash = sha(bytes.subarray(8 + Number(bytes.readBigUInt64LE())))
  const embeddingHash = sha(await readFile(embedding))
  const path = await made.images[0].save(join(scratch, 'star.png'))
  const { parameters, json } = await readMetadata(path)
  t.true(parameters?.startsWith('a red star <lora:night:0.5>\nNegative prompt: EasyDull, blurry\n'), parameters)
  t.true(parameters?.includes(`, Lora hashes: "night: ${loraHash}", TI hashes: "EasyDull: ${embeddingHash}"`), parameters)
  const adapters = {
    loras: [{ name: 'night', weight: 0.5, hash: loraHash }],
    textualInversions: [{ token: 'EasyDull', hash: embeddingHash }],
  }
  t.like(json, { prompt: 'a red star', ...adapters })
  t.like(await parseParameters(parameters ?? ''), adapters)

  const own = await pipe.generate({ ...call, loraWeights: { night: 0.25, off: { unet: 1, textEncoder: 0 } } })
  t.deepEqual(
    own.images[0].parameters?.loras?.map(({ name, weight }) => ({ name, weight })),
    [
      { name: 'night', weight: 0.25 },
      { name: 'off', weight: { unet: 1, textEncoder: 0 } },
    ],
  )
  pipe.unloadLoraWeights()
  const { images } = await pipe.generate(call)
  t.is(images[0].parameters?.loras, undefined)
  t.is(images[0].parameters?.textualInversions, undefined)
})

test('ControlNets and IP-Adapters are units of the web UI’s ControlNet', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained(join(parity, 'pipelines', 'tiny-sd15'))
  await using net = await ControlNetModel.fromPretrained(join(parity, 'models'), { subfolder: 'controlnet' })
  await using adapter = await IPAdapter.fromPretrained(join(fixtures, 'families', 'mixed.ip_adapter_0.safetensors'))
  await using imageEncoder = await CLIPVisionModelWithProjection.fromPretrained(join(parity, 'models', 'clip_vision_projection'))
  const image = { width: 16, height: 16, data: new Uint8Array(16 * 16 * 3).fill(200) }
  const { images } = await pipe.generate({
    prompt: 'a cat',
    height: 16,
    width: 16,
    numInferenceSteps: 2,
    conditions: [
      controlNet(net, { image, scale: 0.8, end: 0.5, guessMode: true }),
      imagePrompt(adapter, { imageEncoder, image, scale: { up: 0.7 } }),
    ],
  })
  const parameters = images[0].parameters ?? {}
  t.like(parameters.controls?.[0], { kind: 'controlnet', model: 'controlnet', weight: 0.8, start: 0, end: 0.5, guessMode: true })
  t.like(parameters.controls?.[1], { kind: 'ip-adapter', model: 'mixed.ip_adapter_0', start: 0, end: 1 })
  const text = formatParameters(parameters)
  t.true(
    text.includes(
      'ControlNet 0: "Module: none, Model: controlnet, Weight: 0.8, Guidance Start: 0, Guidance End: 0.5, Control Mode: ControlNet is more important"',
    ),
    text,
  )
  t.true(text.includes('ControlNet 1: "Module: ip-adapter-auto, Model: mixed.ip_adapter_0, Weight: 0.7,'), text)
  const { controls } = await parseParameters(text)
  t.like(controls?.[0], parameters.controls?.[0] as object)
  t.like(controls?.[1], { kind: 'ip-adapter', weight: 0.7, end: 1 })
})

test('what the web UI and its ControlNet extension write is read', async (t) => {
  const text = [
    'a girl <lora:ink:0.6>, <lora:light:1>',
    'Negative prompt: bad-hands-5',
    'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 0.5, Resize Mode: Crop and Resize, Processor Res: 512, Threshold A: 100, Threshold B: 200, Guidance Start: 0.1, Guidance End: 0.9, Pixel Perfect: True, Control Mode: Balanced", Lora hashes: "ink: 1d5a77d6b141, light: 578e3efedb64", TI hashes: "bad-hands-5: c71427a287b5", Version: v1.9.4',
  ].join('\n')
  t.like(await parseParameters(text), {
    loras: [
      { name: 'ink', weight: 0.6, hash: '1d5a77d6b141' },
      { name: 'light', weight: 1, hash: '578e3efedb64' },
    ],
    textualInversions: [{ token: 'bad-hands-5', hash: 'c71427a287b5' }],
    controls: [{ kind: 'controlnet', model: 'control_v11p_sd15_canny [d14c016b]', weight: 0.5, start: 0.1, end: 0.9 }],
    version: 'v1.9.4',
  })
})
