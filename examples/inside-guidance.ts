/**
 * Inside guidance: encodePrompt gives the two embeddings, the UNet predicts with each, and guidance mixes the two predictions.
 * Follows the look inside the pipeline's call in the article on negative prompts: eps = (1 + w) eps(x, c+, t) - w eps(x, c-, t), with w = guidance - 1.
 * Run: npx tsx examples/inside-guidance.ts [--steps 25] [--out DIR]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { Generator, StableDiffusionPipeline, Tensor } from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/inside-guidance' } } as const
const { steps, out } = parseArgs({ options }).values

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const { promptEmbeds, negativePromptEmbeds } = await pipe.encodePrompt('a circle on a white background', { negativePrompt: 'red' })
console.log(`prompt (${promptEmbeds.shape.join(', ')}), negative prompt (${negativePromptEmbeds.shape.join(', ')})`)

const guidanceScale = 7.5
const w = guidanceScale - 1
const x = new Generator(1234).randn([1, 4, 16, 16])
const t = 501
const encoderHiddenStates = Tensor.cat([negativePromptEmbeds, promptEmbeds])
const [negative, positive] = (await pipe.unet.forward(Tensor.cat([x, x]), t, { encoderHiddenStates })).sample.chunk(2)

const paper = positive.mul(1 + w).sub(negative.mul(w))
const diffusers = negative.add(positive.sub(negative).mul(guidanceScale))
const difference = paper.sub(diffusers).abs().max().item()
console.log(`the paper's form and diffusers' form differ by at most ${difference.toExponential(1)}`)
assert.ok(difference < 1e-4)

const settings = { seed: 1234, guidanceScale, numInferenceSteps: Number(steps) }
const fromText = await pipe.generate({ ...settings, prompt: 'a circle on a white background', negativePrompt: 'red' })
const fromEmbeddings = await pipe.generate({ ...settings, promptEmbeds, negativePromptEmbeds })
assert.deepEqual(fromText.images[0].data, fromEmbeddings.images[0].data)
await fromEmbeddings.images[0].save(`${out}/image.png`)
console.log(`${out}/image.png is the same picture from the text and from the embeddings`)
