import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { InvalidArgumentError, StableDiffusionPipeline, Tensor, WeightsError } from '../../ts/index.ts'
import { random } from './sources.ts'

async function embeddings(pipe: StableDiffusionPipeline, prompt: string): Promise<Float32Array> {
  using encoded = await pipe.encodePrompt(prompt)
  return encoded.promptEmbeds.toArray<Float32Array>()
}

test('an embedding of several vectors adds tokens, is written out in prompts, and goes without a trace', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const { tokenizer, textEncoder } = pipe
  const before = await embeddings(pipe, 'a red circle, EasyDull')
  const vectors = random(1, [3, 64])
  const [inversion] = await pipe.loadTextualInversion(vectors, { token: 'EasyDull' })
  t.deepEqual(inversion?.tokens, ['EasyDull', 'EasyDull_1', 'EasyDull_2'])
  t.is(pipe.tokenizer.length, tokenizer.length + 3)
  t.is(pipe.textEncoder.config.vocab_size, textEncoder.config.vocab_size + 3)
  t.is(pipe.maybeConvertPrompt('x, EasyDull'), 'x, EasyDull EasyDull_1 EasyDull_2')
  const table = await pipe.textEncoder.tokenEmbeddings()
  t.deepEqual(table.index(tokenizer.length + 1).toArray(), vectors.index(1).toArray())
  t.notDeepEqual(await embeddings(pipe, 'a red circle, EasyDull'), before)
  pipe.unloadTextualInversion()
  t.is(pipe.tokenizer, tokenizer)
  t.is(pipe.textEncoder, textEncoder)
  t.deepEqual(await embeddings(pipe, 'a red circle, EasyDull'), before)
})

test('one file under several names is the same embedding; weight scales it', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const folder = await mkdtemp(join(tmpdir(), 'inversions-'))
  await Tensor.saveSafetensors(join(folder, 'learned_embeds.safetensors'), { '<thing>': random(2, [64]) })
  await pipe.loadTextualInversion([folder, join(folder, 'learned_embeds.safetensors')], {
    token: ['midjourney-style', 'colorful-magic-style'],
  })
  const [one, other] = await Promise.all(['midjourney-style', 'colorful-magic-style'].map((name) => embeddings(pipe, `a star, ${name}`)))
  t.deepEqual(one, other)
  await pipe.loadTextualInversion(folder)
  t.deepEqual(await embeddings(pipe, 'a star, <thing>'), one)
  await pipe.loadTextualInversion(random(2, [64]), { token: '<half>', weight: 0.5 })
  const ids = pipe.tokenizer.convertTokensToIds(['<thing>', '<half>'])
  const table = await pipe.textEncoder.tokenEmbeddings()
  const [full, half] = ids.map((id) => table.index(id))
  t.deepEqual(half?.toArray(), full?.mul(0.5).toArray())
  pipe.unloadTextualInversion('<thing>')
  t.false(pipe.tokenizer.has('<thing>'))
  t.deepEqual(await embeddings(pipe, 'a star, midjourney-style'), one)
  await rm(folder, { recursive: true })
})

test('embeddings and LoRAs act together, and a call keeps the tokens that it started with', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const name = 'lora_te_text_model_encoder_layers_0_mlp_fc1'
  await pipe.loadLoraWeights({
    [`${name}.lora_down.weight`]: random(3, [2, 64]),
    [`${name}.lora_up.weight`]: random(4, [256, 2]),
  })
  const adapted = await embeddings(pipe, 'a star')
  await pipe.loadTextualInversion(random(5, [2, 64]), { token: '<both>' })
  t.deepEqual(await embeddings(pipe, 'a star'), adapted)
  const options = { prompt: 'a star, <both>', numInferenceSteps: 1, width: 32, height: 32, seed: 1, outputType: 'latent' as const }
  const expected = (await pipe.generate(options)).latents.toArray()
  const running = pipe.generate(options)
  await new Promise((resolve) => setImmediate(resolve))
  pipe.unloadTextualInversion()
  t.deepEqual((await running).latents.toArray(), expected)
})

test('taken tokens, wrong widths and other files are refused', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const refused = async (
    source: Tensor | Record<string, Tensor>,
    token: string | undefined,
    kind: unknown,
    message: RegExp,
  ): Promise<void> => {
    await t.throwsAsync(() => pipe.loadTextualInversion(source, { token }), { instanceOf: kind as typeof WeightsError, message })
  }
  await refused(random(1, [2, 64]), 'cat</w>', InvalidArgumentError, /cat<\/w>/)
  await refused(random(1, [64]), undefined, InvalidArgumentError, /token/)
  await refused(random(1, [64]), ' ', InvalidArgumentError, /token/)
  await refused(random(1, [2, 48]), '<narrow>', WeightsError, /width 64.*received 48/)
  await refused(random(1, [2, 2, 64]), '<deep>', WeightsError, /\(2, 2, 64\)/)
  await refused({ a: random(1, [64]), b: random(1, [64]) }, '<two>', WeightsError, /received 2: a, b/)
  await refused({ clip_g: random(1, [2, 64]) }, '<second>', WeightsError, /'<second>'/)
  await pipe.loadTextualInversion(random(1, [3, 64]), { token: '<mine>' })
  await refused(random(1, [64]), '<mine>', InvalidArgumentError, /"<mine>"/)
  await refused(random(1, [2, 64]), '<mine>_1', InvalidArgumentError, /"<mine>_1"/)
  await t.throwsAsync(() => pipe.loadTextualInversion([random(1, [64])], { token: ['<a>', '<b>'] }), { instanceOf: InvalidArgumentError })
  await t.throwsAsync(() => pipe.loadTextualInversion('no/such/file.pt'), { instanceOf: InvalidArgumentError })
  t.throws(() => pipe.unloadTextualInversion('stranger'), { instanceOf: InvalidArgumentError })
})
