/**
 * Delayed negative prompt: the negative prompt acts only from a chosen step on, because used too early it can plant what it names.
 * Follows the section on reverse activation in the article on negative prompts; the step hook replaces the embeddings.
 * Run: npx tsx examples/delayed-negative-prompt.ts [--steps 25] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { type Image, imageGrid, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/delayed-negative-prompt' } } as const
const { values } = parseArgs({ options })
const steps = Number(values.steps)

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const prompt = 'a circle on a white background'
const { negativePromptEmbeds } = await pipe.encodePrompt(prompt, { negativePrompt: 'red' })

/** Starts with an empty negative prompt and puts the real one in before step number `from` (0 is the first). */
async function generateDelayed(from: number): Promise<Image> {
  const { images } = await pipe.generate({
    prompt,
    seed: 4,
    numInferenceSteps: steps,
    ...(from === 0 ? { negativePrompt: 'red' } : {}),
    callbackOnStepEnd: (_pipe, step) => (step + 1 === from ? { negativePromptEmbeds } : undefined),
  })
  return images[0]
}

const starts = [0, Math.ceil(steps / 8), Math.ceil(steps / 4), Math.ceil(steps / 2), steps]
const images: Image[] = []
for (const from of starts) images.push(await generateDelayed(from))
await (await imageGrid(images, { rows: 1, cols: images.length })).save(`${values.out}/grid.png`)
console.log(`${values.out}/grid.png: negative prompt "red" from step ${starts.join(', ')} of ${steps}`)
