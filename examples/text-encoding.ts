/**
 * Text encoding: a batch of prompts becomes the hidden states that the UNet's cross-attention reads.
 * Follows the `text_enc(prompts, maxlen)` listing of "Negative prompts and image-to-image from components".
 * Run: npx tsx examples/text-encoding.ts [--out DIR]
 */
import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { CLIPTextModel, CLIPTokenizer, Tensor } from 'node-diffusion'

const { out } = parseArgs({ options: { out: { type: 'string', default: 'out/text-encoding' } } }).values
await mkdir(out, { recursive: true })

const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
const textEncoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })

async function encodeText(prompts: string[], maxLength = tokenizer.modelMaxLength): Promise<Tensor> {
  const tokens = tokenizer.encode(prompts, { padding: 'max_length', maxLength, truncation: true })
  return (await textEncoder.forward(tokens.inputIds)).lastHiddenState
}

const prompts = ['a red circle on a blue background', 'a small green star']
const { inputIds } = tokenizer.encode('a red circle', { padding: false })
console.log('tokens of "a red circle":', tokenizer.convertIdsToTokens(inputIds.index(0)).join(' '))

const full = await encodeText(prompts)
const short = await encodeText(prompts, 12)
console.log(`padded to ${tokenizer.modelMaxLength} tokens: (${full.shape.join(', ')})`)
console.log(`padded to 12 tokens: (${short.shape.join(', ')})`)

const difference = full.slice(1, 0, 12).sub(short).abs().max().item()
console.log(`largest difference in the first 12 positions: ${difference.toExponential(1)}; attention is causal, padding cannot reach back`)
await Tensor.saveSafetensors(`${out}/embeddings.safetensors`, { full, short })
