/**
 * Prompt to embeddings by hand: the prompt keeps its own length, the negative prompt is padded or cut to the same one.
 * Follows "from prompt to embeddings" in chapter 5 of "Using Stable Diffusion with Python"; the pipeline pads both to 77 instead.
 * Run: npx tsx examples/prompt-embeddings.ts [--steps 25] [--out DIR]
 */
import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { CLIPTextModel, CLIPTokenizer, StableDiffusionPipeline, Tensor } from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/prompt-embeddings' } } as const
const { steps, out } = parseArgs({ options }).values
await mkdir(out, { recursive: true })

const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
const textEncoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })

const promptTokens = tokenizer.encode('a red circle on a blue background', { padding: false })
const length = promptTokens.inputIds.shape[1]
const negativeTokens = tokenizer.encode('green, a square', { padding: 'max_length', maxLength: length, truncation: true })
console.log(`ids of the prompt: ${promptTokens.inputIds.toArray().join(' ')}`)
console.log(`ids of the negative prompt: ${negativeTokens.inputIds.toArray().join(' ')}`)

const promptEmbeds = (await textEncoder.forward(promptTokens)).lastHiddenState
const negativePromptEmbeds = (await textEncoder.forward(negativeTokens)).lastHiddenState
const embeddings = Tensor.cat([negativePromptEmbeds, promptEmbeds])
console.log(`embeddings (${embeddings.shape.join(', ')})`)
await Tensor.saveSafetensors(`${out}/embeddings.safetensors`, { embeddings })

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes', { tokenizer, textEncoder })
const { images } = await pipe.generate({ promptEmbeds, negativePromptEmbeds, seed: 1, numInferenceSteps: Number(steps) })
await images[0].save(`${out}/image.png`)
console.log(`${out}/image.png`)
