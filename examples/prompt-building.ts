/**
 * Prompts that are written for you: keywords of nine categories, or a language model that expands a subject; both fit two chunks of 75 tokens.
 * Follows chapter 17 of "Using Stable Diffusion with Python", and its long weighted prompt of chapter 16 (lpw). `llm` may be any async function: put the
 * call of your model there; this one answers as a model might, with a bracket too many.
 * Run: npx tsx examples/prompt-building.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { buildPrompt, type ChatMessage, expandPrompt, type Image, imageGrid, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/prompt-building' } } as const
const { values } = parseArgs({ options })

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const common = { numInferenceSteps: Number(values.steps), seed: 3, promptSyntax: 'lpw' } as const

const built = buildPrompt(
  { subject: { text: 'a yellow star', weight: 1.3 }, details: 'on a blue background', resolution: 'sharp', color: ['yellow', 'blue'] },
  { tokenizer: pipe.tokenizer, tokenLimit: 150 },
)
console.log(built)

async function llm(messages: readonly ChatMessage[]): Promise<string> {
  const subject = messages.at(-1)?.content ?? ''
  return `**Positive Prompt:** ((${subject}))), on a white background, "sharp",\n\n**Negative Prompt:** purple, (blurry:1.2`
}
const expanded = await expandPrompt('a red circle', { llm, tokenizer: pipe.tokenizer })
console.log(expanded)

const images: Image[] = []
for (const { prompt, negativePrompt } of [built, expanded]) {
  images.push((await pipe.generate({ ...common, prompt, negativePrompt })).images[0])
}
await (await imageGrid(images, { rows: 1, cols: 2 })).save(`${values.out}/keywords-and-model.png`)
