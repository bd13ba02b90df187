import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, encodePrompt, Tensor } from '../../ts/index.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))
const folder = fixture('parity/pipelines/tiny-sdxl')
const components = {
  tokenizer: await CLIPTokenizer.fromPretrained(folder, { subfolder: 'tokenizer' }),
  textEncoder: await CLIPTextModel.fromPretrained(folder, { subfolder: 'text_encoder' }),
  tokenizer2: await CLIPTokenizer.fromPretrained(folder, { subfolder: 'tokenizer_2' }),
  textEncoder2: await CLIPTextModelWithProjection.fromPretrained(folder, { subfolder: 'text_encoder_2' }),
}
type Case = { prompt: string; prompt_2?: string; negative: string; negative_2?: string; clip_skip?: number }
const cases = JSON.parse(await readFile(fixture('prompts/lpw_xl.json'), 'utf8')) as Case[]
const goldens = await Tensor.loadSafetensors(fixture('prompts/lpw_xl.safetensors'))

for (const [i, item] of cases.entries()) {
  test(`lpw_stable_diffusion_xl, case ${i}: ${item.prompt.slice(0, 60)}`, async (t) => {
    using conditioning = await encodePrompt(components, item.prompt, {
      syntax: 'lpw',
      negativePrompt: item.negative,
      prompt2: item.prompt_2,
      negativePrompt2: item.negative_2,
      clipSkip: item.clip_skip,
    })
    for (const [name, tensor] of Object.entries(conditioning.at())) {
      const golden = goldens[`${i}.${name}`]
      t.deepEqual(tensor?.shape, golden?.shape, name)
      const error = golden === undefined ? Number.NaN : tensor?.sub(golden).abs().max().item()
      // 5e-5 of values up to 4: the tolerance of prompts/README.md for embeddings
      t.true(Number(error) < 5e-5 * 4, `${name}: ${error}`)
    }
  })
}

test('two empty texts are one empty window', async (t) => {
  using conditioning = await encodePrompt(components, '', { syntax: 'lpw' })
  t.deepEqual(conditioning.promptEmbeds.shape.slice(0, 2), [1, 2])
  t.true(conditioning.promptEmbeds.equal(conditioning.negativePromptEmbeds))
})

test('prompts of any length fit into one call, filled up to the longest', async (t) => {
  const long = Array.from({ length: 60 }, () => 'a red cat').join(', ')
  const prompts = ['a cat', long, 'a (red:1.2) cat']
  using together = await encodePrompt(components, prompts, { syntax: 'lpw', negativePrompt: 'blurry' })
  using alone = await encodePrompt(components, long, { syntax: 'lpw', negativePrompt: 'blurry' })
  const [, tokens, width] = alone.promptEmbeds.shape
  t.deepEqual(together.promptEmbeds.shape, [3, tokens, width])
  t.deepEqual(together.negativePromptEmbeds.shape, [3, tokens, width])
  // 5e-5 of values up to 4, as above
  t.true(together.promptEmbeds.slice(0, 1, 2).sub(alone.promptEmbeds).abs().max().item() < 5e-5 * 4)
  t.true(together.negativePromptEmbeds.slice(0, 1, 2).sub(alone.negativePromptEmbeds).abs().max().item() < 5e-5 * 4)
})
