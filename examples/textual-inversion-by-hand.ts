/**
 * A textual inversion loaded by hand, with a weight: the vectors times the weight become rows of the token table, the token an entry of the vocabulary.
 * Follows the custom loader of chapter 9 (load_textual_inversion with weight), which this library gives as the option `weight`.
 * Run: npx tsx examples/textual-inversion-by-hand.ts [--out DIR]
 */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { CLIPTextModel, CLIPTokenizer, StableDiffusionPipeline, Tensor } from 'node-diffusion'

const { values } = parseArgs({ options: { out: { type: 'string', default: 'out/textual-inversion-by-hand' } } })
const path = fileURLToPath(new URL('../test/fixtures/adapters/easy-dull.safetensors', import.meta.url))
const weight = 0.5
const prompt = 'a circle, colorful-magic-style'

const { emb_params: vectors } = await Tensor.loadSafetensors(path)
if (vectors === undefined) throw new Error(`Expected emb_params in ${path}`)
const first = vectors.slice(0, 0, 1).mul(weight)

const tokenizer = (await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })).clone()
if (tokenizer.addTokens('colorful-magic-style') === 0) throw new Error('The token is taken')
const ids = tokenizer.convertTokensToIds(['colorful-magic-style'])
const textEncoder = (await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })).withTokenEmbeddings(ids, first)
const { lastHiddenState } = await textEncoder.forward(tokenizer.encode(prompt, { padding: 'max_length' }))

await using pipe = await StableDiffusionPipeline.fromPretrained()
await pipe.loadTextualInversion(vectors.slice(0, 0, 1), { token: 'colorful-magic-style', weight })
const { promptEmbeds } = await pipe.encodePrompt(prompt)
const difference = Math.max(...lastHiddenState.sub(promptEmbeds).abs().toArray())
console.log(`${tokenizer.length} tokens; by hand and by the pipeline differ by ${difference}`)
if (difference !== 0) process.exitCode = 1

const { images } = await pipe.generate({ prompt, numInferenceSteps: 20, seed: 1 })
await images[0].save(join(values.out, 'circle.png'))
