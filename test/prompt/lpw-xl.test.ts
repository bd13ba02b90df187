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
