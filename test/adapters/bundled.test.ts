import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { StableDiffusionPipeline, Tensor, WeightsError } from '../../ts/index.ts'
import { kohya, random } from './sources.ts'

const WIDTH = 64

test('inversions in a LoRA file are tokens while it is loaded, in every form', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const rows = random(5, [2, WIDTH])
  const bundle = { 'bundle_emb.<ring>.string_to_param.*': rows, 'bundle_emb.<star>.clip_l': random(6, [WIDTH]) }
  const report = await pipe.loadLoraWeights({ ...kohya(), ...bundle }, { adapterName: 'a', strict: true })
  t.deepEqual(report.embeddings, ['<ring>', '<star>'])
  t.deepEqual(report.unmatched, [])
  t.true(pipe.tokenizer.has('<ring>_1') && pipe.tokenizer.has('<star>'))
  await using other = await StableDiffusionPipeline.fromPretrained()
  await other.loadLoraWeights(kohya())
  await other.loadTextualInversion(rows, { token: '<ring>' })
  const call = { prompt: 'a red <ring>', numInferenceSteps: 1, seed: 3 }
  const [ours, theirs] = [await pipe.generate(call), await other.generate(call)]
  t.deepEqual((await ours.images[0]?.rgba())?.data, (await theirs.images[0]?.rgba())?.data)
  await pipe.loadLoraWeights({ ...kohya({ seed: 4 }), ...bundle }, { adapterName: 'b' })
  pipe.deleteAdapters('a')
  t.false(pipe.tokenizer.has('<ring>'))
  pipe.unloadLoraWeights()
  t.false(pipe.tokenizer.has('<star>'))
})

test('an inversion of another width is an error that names it, and nothing is loaded', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const wide = { ...kohya(), 'bundle_emb.<ring>.string_to_param.*': random(5, [1, 9]) }
  await t.throwsAsync(pipe.loadLoraWeights(wide), { instanceOf: WeightsError, message: /'<ring>' but received 9/ })
  t.deepEqual(pipe.getListAdapters(), {})
})

test('a bundle is read from a file too', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'nd-bundle-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const path = join(folder, 'bundle.safetensors')
  await Tensor.saveSafetensors(path, { ...kohya(), 'bundle_emb.a.b.string_to_param.*': random(5, [1, WIDTH]) })
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  t.deepEqual((await pipe.loadLoraWeights(path)).embeddings, ['a.b'])
})
