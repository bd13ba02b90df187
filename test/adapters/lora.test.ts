import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import {
  InvalidArgumentError,
  LoraAdapter,
  StableDiffusionPipeline,
  Tensor,
  type UNet2DConditionModel,
  WeightsError,
} from '../../ts/index.ts'
import { kohya, query, random } from './sources.ts'

const settings = {
  prompt: 'a red circle on a blue background',
  numInferenceSteps: 2,
  width: 64,
  height: 64,
  seed: 3,
  outputType: 'latent' as const,
}

async function evaluate(unet: UNet2DConditionModel): Promise<Float32Array> {
  const { sample } = await unet.forward(random(7, [1, 4, 8, 8], 1), 300, { encoderHiddenStates: random(8, [1, 5, 64], 1) })
  return sample.toArray<Float32Array>()
}

async function latentsOf(pipe: StableDiffusionPipeline, more: object = {}): Promise<Float32Array> {
  const { latents } = await pipe.generate({ ...settings, ...more })
  return latents.toArray<Float32Array>()
}

function far(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - (b[i] ?? Number.NaN))), 0)
}

test('an adapter changes a model of its own, and unloading gives back the very components', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const { unet } = pipe
  const before = await evaluate(unet)
  const report = await pipe.loadLoraWeights(kohya(), { adapterName: 'a', strict: true })
  t.like(report, { adapterName: 'a', algorithm: 'lora', layers: { unet: 1 }, matched: 3, unmatched: [], rank: 2, scales: [1] })
  t.not(pipe.unet, unet)
  t.true(far(await evaluate(pipe.unet), before) > 1e-4)
  t.deepEqual(await evaluate(unet), before)
  pipe.setAdapters('a', 0)
  t.is(pipe.unet, unet)
  pipe.unloadLoraWeights()
  t.is(pipe.unet, unet)
  t.deepEqual(await evaluate(pipe.unet), before)
})

test('files of all trainers for one layer give the same model', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const [down, up] = [random(1, [2, query.inputs]), random(2, [query.out, 2])]
  const flat = query.name.replaceAll('.', '_')
  const names: Record<string, [string, string]> = {
    kohya: [`lora_unet_${flat}.lora_down.weight`, `lora_unet_${flat}.lora_up.weight`],
    sgm: ['attn1_to_q.lora_down.weight', 'attn1_to_q.lora_up.weight'].map(
      (end) => `lora_unet_input_blocks_1_1_transformer_blocks_0_${end}`,
    ) as [string, string],
    peft: [`unet.${query.name}.lora_A.weight`, `unet.${query.name}.lora_B.weight`],
    named: [`base_model.model.${query.name}.lora_A.default.weight`, `base_model.model.${query.name}.lora_B.default.weight`],
    old: [`unet.${query.name}.lora.down.weight`, `unet.${query.name}.lora.up.weight`],
    processor: ['down', 'up'].map((part) => `unet.${query.name.replace('attn1.', 'attn1.processor.')}_lora.${part}.weight`) as [
      string,
      string,
    ],
  }
  let first: Float32Array | undefined
  for (const [format, [a, b]] of Object.entries(names)) {
    await pipe.loadLoraWeights({ [a]: down, [b]: up }, { adapterName: format, strict: true })
    const result = await evaluate(pipe.unet)
    first ??= result
    t.deepEqual(result, first, format)
  }
})

test('full differences, biases and IA3 act as their formulas say', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const plain = await evaluate(pipe.unet)
  const run = async (weights: Record<string, Tensor>, weight = 1): Promise<Float32Array> => {
    await pipe.loadLoraWeights(weights, { adapterName: 'a', strict: true })
    pipe.setAdapters('a', weight)
    const result = await evaluate(pipe.unet)
    pipe.unloadLoraWeights()
    return result
  }
  const shifted = await run({ 'lora_unet_conv_out.diff_b': Tensor.from([1, 2, 3, 4]) }, 0.5)
  t.true(
    far(
      shifted,
      plain.map((value, i) => value + 0.5 * (1 + Math.floor(i / 64))),
    ) < 1e-5,
  )
  const factors = (value: number): Record<string, Tensor> => ({
    'lora_unet_conv_out.weight': Tensor.full([1, 4, 1, 1], value),
    'lora_unet_conv_out.on_input': Tensor.from([0]),
  })
  const bias = await run(factors(-1))
  const louder = await run(factors(0.5))
  t.true(
    far(
      louder,
      plain.map((value, i) => 1.5 * value - 0.5 * (bias[i] ?? 0)),
    ) < 1e-5,
  )
  const zeroed = await run({ 'lora_unet_conv_out.diff': Tensor.zeros([4, 32, 3, 3]) })
  t.deepEqual(zeroed, plain)
})

test('weights by component and block reach the layers of that block alone', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const upper = 'up_blocks.2.attentions.1.transformer_blocks.0.attn1.to_q'
  const [down, up] = [kohya({ seed: 1 }), kohya({ seed: 5, layer: upper })]
  await pipe.loadLoraWeights(up, { adapterName: 'up' })
  const alone = await evaluate(pipe.unet)
  await pipe.loadLoraWeights({ ...down, ...up }, { adapterName: 'both' })
  const both = await evaluate(pipe.unet)
  for (const weight of [{ down: 0 }, { down: { block_0: [0] } }, { down: 0, up: { block_2: [0.5, 1] } }]) {
    pipe.setAdapters('both', { unet: weight })
    t.deepEqual(await evaluate(pipe.unet), alone, JSON.stringify(weight))
  }
  pipe.setAdapters('both', { unet: { mid: 0, up: { block_0: 0 } }, textEncoder: 0 })
  t.deepEqual(await evaluate(pipe.unet), both)
  pipe.setAdapters(['up', 'both'], [-1, 1])
  t.true(far(await evaluate(pipe.unet), both) > 1e-5)
  const wrong = (weight: unknown): void =>
    void t.throws(() => pipe.setAdapters('both', weight as number), { instanceOf: InvalidArgumentError })
  wrong({ unet: { down: { block_9: 1 } } })
  wrong({ unet: { up: { block_2: [1, 2, 3] } } })
  wrong({ unet: { sideways: 1 } })
  wrong({ vae: 1 })
  wrong(Number.NaN)
  wrong([1, 2])
})

test('adapters that are loaded at the same time all stay', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const reports = await Promise.all([1, 2].map((seed) => pipe.loadLoraWeights(kohya({ seed }))))
  t.deepEqual(
    reports.map(({ adapterName }) => adapterName).sort(), // either may be read first
    ['default_0', 'default_1'],
  )
  t.deepEqual(pipe.getListAdapters(), { unet: ['default_0', 'default_1'] })
})

test('fusing fixes weights and gives the same numbers; unfusing, disabling and deleting undo exactly', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const { unet } = pipe
  await pipe.loadLoraWeights(kohya({ seed: 1 }), { adapterName: 'a' })
  await pipe.loadLoraWeights(kohya({ seed: 5 }))
  t.deepEqual(pipe.getActiveAdapters(), ['default_0'])
  t.deepEqual(pipe.getListAdapters(), { unet: ['a', 'default_0'] })
  pipe.setAdapters(['a', 'default_0'], [0.5, -0.25])
  const active = await evaluate(pipe.unet)
  pipe.fuseLora()
  pipe.unloadLoraWeights()
  t.deepEqual(await evaluate(pipe.unet), active)
  pipe.disableLora()
  t.deepEqual(await evaluate(pipe.unet), active)
  pipe.unfuseLora()
  t.is(pipe.unet, unet)
  pipe.enableLora()
  await pipe.loadLoraWeights(kohya({ seed: 1 }), { adapterName: 'a' })
  pipe.fuseLora({ loraScale: 0.5 })
  await pipe.loadLoraWeights(kohya({ seed: 1 }), { adapterName: 'again' })
  pipe.setAdapters('again', -0.5)
  const rest = far(await evaluate(pipe.unet), await evaluate(unet))
  t.true(rest < 1e-5, `fusing at 0.5 and subtracting leaves ${rest}`)
  pipe.deleteAdapters(['a', 'again'])
  pipe.unfuseLora()
  t.is(pipe.unet, unet)
  t.throws(() => pipe.deleteAdapters('a'), { instanceOf: InvalidArgumentError })
})

test('a call has its own weights, whatever other calls and the pipeline do meanwhile', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const plain = await latentsOf(pipe)
  await pipe.loadLoraWeights(kohya(), { adapterName: 'a' })
  const full = await latentsOf(pipe)
  const half = await latentsOf(pipe, { crossAttentionKwargs: { scale: 0.5 } })
  t.true(far(full, plain) > 1e-4 && far(half, full) > 1e-4)
  const jobs = [latentsOf(pipe, { loraWeights: { a: 0.5 } }), latentsOf(pipe), latentsOf(pipe, { loraWeights: { a: 0 } })]
  await new Promise((resolve) => setImmediate(resolve))
  pipe.unloadLoraWeights()
  const [third, second, first] = await Promise.all(jobs)
  t.deepEqual(third, half)
  t.deepEqual(second, full)
  t.deepEqual(first, plain)
  t.deepEqual(await latentsOf(pipe), plain)
  await t.throwsAsync(() => latentsOf(pipe, { loraWeights: { a: 1 } }), { instanceOf: InvalidArgumentError, message: /none is loaded/ })
})

test('prompts name LoRAs in a folder', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'loras-'))
  await Tensor.saveSafetensors(join(folder, 'ink.safetensors'), kohya())
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const call = { prompt: `${settings.prompt}<lora:ink:0.5>`, promptSyntax: 'a1111' as const }
  await t.throwsAsync(() => latentsOf(pipe, call), { instanceOf: InvalidArgumentError, message: /loras/ })
  pipe.loras = folder
  const named = await latentsOf(pipe, call)
  await pipe.loadLoraWeights(folder, { weightName: 'ink.safetensors', adapterName: 'x' })
  pipe.setAdapters('x', 0.5)
  t.deepEqual(named, await latentsOf(pipe, { promptSyntax: 'a1111' }))
  pipe.loras = (name) => (name === 'other' ? join(folder, 'ink.safetensors') : undefined)
  pipe.unloadLoraWeights()
  t.deepEqual(await latentsOf(pipe, { ...call, prompt: `${settings.prompt}<lora:other:0.5>` }), named)
  await t.throwsAsync(() => latentsOf(pipe, { ...call, prompt: '<lora:none:1>' }), { instanceOf: InvalidArgumentError })
  await rm(folder, { recursive: true })
})

test('files that are no adapter, or none for this model, are refused with the reason', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const refused = async (source: Record<string, Tensor>, message: RegExp, options = {}): Promise<void> => {
    await t.throwsAsync(() => pipe.loadLoraWeights(source, options), { instanceOf: WeightsError, message })
  }
  await refused({ x: Tensor.zeros([1, 2]) }, /textual inversion.*first keys: x/)
  await refused({ 'model.diffusion_model.out.2.weight': Tensor.zeros([1]), y: Tensor.zeros([1]) }, /whole checkpoint/)
  await refused(kohya({ layer: 'nowhere.at.all' }), /none of whose 3 keys/)
  await refused(kohya({ inputs: 48 }), /to_q\.lora_down\.weight \(expected \(rank, 32\), found \[2, 48\]\).*another family/)
  await refused({ ...kohya(), stray: Tensor.zeros([1]) }, /1 without one: stray/, { strict: true })
  t.deepEqual((await pipe.loadLoraWeights({ ...kohya(), stray: Tensor.zeros([1]) })).unmatched, ['stray'])
  const folder = await mkdtemp(join(tmpdir(), 'loras-'))
  await Tensor.saveSafetensors(join(folder, 'whole.safetensors'), kohya())
  const bytes = await readFile(join(folder, 'whole.safetensors'))
  await writeFile(join(folder, 'cut.safetensors'), bytes.subarray(0, bytes.length - 9))
  await writeFile(join(folder, 'text.pt'), 'not a pickle at all')
  for (const [name, message] of [
    ['cut.safetensors', /truncated/],
    ['text.pt', /text\.pt/],
  ] as const) {
    await t.throwsAsync(() => pipe.loadLoraWeights(join(folder, name)), { instanceOf: WeightsError, message })
  }
  await t.throwsAsync(() => pipe.loadLoraWeights(join(folder, 'missing.safetensors')), { instanceOf: InvalidArgumentError })
  await t.throwsAsync(() => pipe.loadLoraWeights(kohya(), { adapterName: 'default_0' }), { instanceOf: InvalidArgumentError })
  await rm(folder, { recursive: true })
})

test('an adapted model is built once, stops when nobody waits, and can be built again', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const adapter = await LoraAdapter.load(kohya())
  const unet = pipe.unet.withAdapters([{ adapter, weight: 1 }])
  await t.throwsAsync(() => unet.prepare({ signal: AbortSignal.abort() }), { name: 'AbortError' })
  const controller = new AbortController()
  const waiting = unet.prepare({ signal: controller.signal })
  controller.abort()
  await t.throwsAsync(() => waiting, { name: 'AbortError' })
  await unet.prepare()
  const result = await evaluate(unet)
  unet.dispose()
  await t.throwsAsync(() => evaluate(unet), { name: 'DisposedError' })
  await using again = pipe.unet.withAdapters([{ adapter }])
  t.deepEqual(await evaluate(again), result)
  t.throws(() => pipe.unet.withAdapters([{ adapter: {} as LoraAdapter }]), { instanceOf: InvalidArgumentError })
})
