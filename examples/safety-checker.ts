/**
 * The safety checker, off unless it is asked for: anything with `check` judges the finished pictures, and those that it objects to come out black.
 * Follows "Turning off the safety checker" of chapter 6. `loadSafetyChecker: true` loads the network beside a published model; the judge here
 * objects to blue pictures.
 * Run: npx tsx examples/safety-checker.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { imageStrip, type SafetyChecker, StableDiffusionPipeline } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/safety-checker' } } as const
const { steps, out } = parseArgs({ options }).values

/** Pixels are (B, 3, H, W) from 0 to 1. */
const noBlue: SafetyChecker = {
  async check(pixels) {
    const [red, , blue] = pixels.mean([2, 3]).chunk(3, 1)
    return Array.from(blue?.sub(red ?? 0).toArray() ?? [], (more) => Number(more) > 0.1)
  },
}

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes', { safetyChecker: noBlue })
const prompt = ['a red circle on a blue background', 'a red circle on a yellow background']
const { images, nsfwContentDetected } = await pipe.generate({ prompt, numInferenceSteps: Number(steps), seed: 3 })
const unchecked = await StableDiffusionPipeline.fromPipe(pipe, { safetyChecker: null }).generate({
  prompt,
  numInferenceSteps: Number(steps),
  seed: 3,
})

const pictures = [...unchecked.images, ...images].map((image, i) => ({ title: i < 2 ? 'unchecked' : 'checked', image }))
await (await imageStrip(pictures)).save(`${out}/strip.png`)
console.log(`objected to: ${nsfwContentDetected?.join(', ')}; ${out}/strip.png`)
