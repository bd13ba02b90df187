/**
 * A textual inversion from the inside: its tokens, the expanded prompt, and one seed without it, with it as a negative and as a positive prompt.
 * Follows "Negative prompts from the inside" (Japanese article): load_textual_inversion, convert_ids_to_tokens, maybe_convert_prompt; and chapter 9.
 * The embedding was trained for the built-in model (models/train/train_adapters.py): 4 vectors for gray shapes on gray and white.
 * Run: npx tsx examples/textual-inversion.ts [--steps 25] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { imageStrip, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/textual-inversion' } } as const
const { steps, out } = parseArgs({ options }).values

await using pipe = await StableDiffusionPipeline.fromPretrained()
console.log(`${pipe.tokenizer.length} tokens`)
await pipe.loadTextualInversion(fileURLToPath(new URL('../test/fixtures/adapters', import.meta.url)), {
  weightName: 'easy-dull.safetensors',
  token: 'EasyDull',
})
console.log(`${pipe.tokenizer.length} tokens with the embedding`)

const text = pipe.maybeConvertPrompt('a circle, EasyDull')
const { inputIds } = pipe.tokenizer.encode(text)
console.log(`'a circle, EasyDull' is encoded as ${pipe.tokenizer.convertIdsToTokens(inputIds.index(0)).join(' ')}`)

const call = { prompt: 'a circle on a white background', numInferenceSteps: Number(steps), scheduler: 'DPM++ 2M', seed: 1234 }
const without = await pipe.generate(call)
const negative = await pipe.generate({ ...call, negativePrompt: 'EasyDull' })
const positive = await pipe.generate({ ...call, prompt: `${call.prompt}, EasyDull` })
const results = { without, 'as negative prompt': negative, 'as positive prompt': positive }
const pictures = Object.entries(results).map(([title, { images }]) => ({ title, image: images[0] }))
await (await imageStrip(pictures)).save(`${out}/strip.png`)

pipe.unloadTextualInversion()
console.log(`${pipe.tokenizer.length} tokens after unloading; ${out}/strip.png`)
