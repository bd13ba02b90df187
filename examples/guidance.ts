/**
 * One prompt and seed under several guidances, side by side: plain, with contrast brought back, perturbed attention, FreeU; and that row by row gives
 * the same picture as one batch.
 * Run: npx tsx examples/guidance.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { ClassifierFreeGuidance, freeU, imageStrip, PerturbedAttentionGuidance, StableDiffusionPipeline, sequential } from 'node-diffusion'

const flags = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/guidance' } } as const
const { steps, out } = parseArgs({ options: flags }).values

await using pipe = await StableDiffusionPipeline.fromPretrained()
const options = { prompt: 'a yellow star on a purple background', seed: 11, numInferenceSteps: Number(steps) }
const plain = new ClassifierFreeGuidance({ scale: 7.5 })
const calls = {
  plain: { guidance: plain },
  rescaled: { guidance: new ClassifierFreeGuidance({ scale: 7.5, rescale: 0.7 }) },
  perturbed: { guidance: new PerturbedAttentionGuidance({ scale: 5, pagScale: 2, layers: 'down_blocks.1' }) },
  freeU: { guidance: plain, conditions: [freeU({ s1: 0.9, s2: 0.4, b1: 1.1, b2: 1.2 })] },
  sequential: { guidance: sequential(plain) },
}
const entries = []
for (const [name, call] of Object.entries(calls)) {
  const [image] = (await pipe.generate({ ...options, ...call })).images
  await image.save(`${out}/${name}.png`)
  entries.push({ title: name, image })
}
await (await imageStrip(entries)).save(`${out}/strip.png`)
console.log(`${entries.length} images in ${out}`)
