/**
 * Prompts of more than 77 tokens, and weights: first by hand (strip start and end, windows of 75, encode, multiply, join), then as syntaxes.
 * Follows chapter 10 of "Using Stable Diffusion with Python" (long_prompt_encoding, get_weighted_text_embeddings, lpw_stable_diffusion) and the
 * article on negative prompts, whose long prompt with brackets is plain text to a pipeline without a weighting encoder.
 * Run: npx tsx examples/long-weighted-prompts.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { type Image, imageGrid, parseAttention, StableDiffusionPipeline, Tensor } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/long-weighted-prompts' } } as const
const { values } = parseArgs({ options })

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const { tokenizer, textEncoder } = pipe

/** Ids without start and end, and the weight of each. */
function weightedIds(prompt: string): [ids: number[], weights: number[]] {
  const pieces = parseAttention(prompt).map(([text, weight]) => {
    const ids = Array.from(tokenizer.encode(text).inputIds.toArray(), Number).slice(1, -1)
    return { ids, weights: ids.map(() => weight) }
  })
  return [pieces.flatMap(({ ids }) => ids), pieces.flatMap(({ weights }) => weights)]
}

/** Windows of 75 tokens, each encoded between start and end, each token times its weight; the book does not restore the mean. */
async function encodeByHand(prompt: string, negative: string): Promise<[Tensor, Tensor]> {
  const texts = [weightedIds(prompt), weightedIds(negative)] as const
  const length = Math.max(...texts.map(([ids]) => ids.length))
  const encode = async ([ids, weights]: [number[], number[]]): Promise<Tensor> => {
    const missing = Array.from({ length: length - ids.length })
    const [all, factors] = [
      [...ids, ...missing.map(() => tokenizer.eosTokenId)],
      [...weights, ...missing.map(() => 1)],
    ]
    const parts: Tensor[] = []
    for (let at = 0; at < all.length; at += 75) {
      const window = [tokenizer.bosTokenId, ...all.slice(at, at + 75), tokenizer.eosTokenId]
      const { lastHiddenState } = await textEncoder.forward(Tensor.from(window, [1, window.length], 'i64'))
      parts.push(lastHiddenState.mul(Tensor.from([1, ...factors.slice(at, at + 75), 1], [1, window.length, 1])))
    }
    return Tensor.cat(parts, 1)
  }
  return [await encode(texts[0]), await encode(texts[1])]
}

const prompt = `${'on a blue background, '.repeat(16)}a (yellow:1.3) star`
const negativePrompt = 'red, (green:1.2)'
const common = { numInferenceSteps: Number(values.steps), seed: 1 }
const [promptEmbeds, negativePromptEmbeds] = await encodeByHand(prompt, negativePrompt)
const plain = await pipe.generate({ ...common, prompt, negativePrompt })
console.log(`plain text is cut: ${JSON.stringify(plain.truncated[0])} is lost; by hand ${promptEmbeds.shape[1]} tokens`)

const images: Image[] = [plain.images[0], (await pipe.generate({ ...common, promptEmbeds, negativePromptEmbeds })).images[0]]
for (const promptSyntax of ['a1111', 'lpw'] as const) {
  images.push((await pipe.generate({ ...common, prompt, negativePrompt, promptSyntax })).images[0])
}
await (await imageGrid(images, { rows: 1, cols: images.length })).save(`${values.out}/plain-hand-a1111-lpw.png`)
