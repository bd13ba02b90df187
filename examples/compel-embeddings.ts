/**
 * Embeddings from a weighting library, given to the pipeline as tensors; then the same as a conditioning that is kept in a file and mixed.
 * Follows the section on prompt weighting of diffusers' guide to conditional image generation (`prompt_embeds` from Compel).
 * Run: npx tsx examples/compel-embeddings.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { Conditioning, encodeCompel, type Image, imageGrid, padToSameLength, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/compel-embeddings' } } as const
const { values } = parseArgs({ options })
const common = { numInferenceSteps: Number(values.steps), seed: 5 }

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const embeds = await Promise.all(['a red++ circle on a white-- background', 'purple'].map((text) => encodeCompel(pipe, text)))
const [promptEmbeds, negativePromptEmbeds] = await padToSameLength(pipe, embeds)
const images: Image[] = [(await pipe.generate({ ...common, promptEmbeds, negativePromptEmbeds })).images[0]]

const circle = await pipe.encodePrompt('a red++ circle on a white background', { syntax: 'compel', negativePrompt: 'purple' })
const star = await pipe.encodePrompt('a blue star on a white background', { syntax: 'compel', negativePrompt: 'purple' })
await circle.save(`${values.out}/circle.safetensors`)
const kept = await Conditioning.load(`${values.out}/circle.safetensors`)
for (const share of [0, 0.25, 0.5, 0.75, 1]) {
  images.push((await pipe.generate({ ...common, conditioning: kept.slerp(star, share) })).images[0])
}
await (await imageGrid(images, { rows: 1, cols: images.length })).save(`${values.out}/embeddings-and-interpolation.png`)
