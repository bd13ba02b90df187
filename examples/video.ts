/**
 * Text to video with AnimateDiff. With a motion adapter and a Stable Diffusion 1.x model in folders, the frames move; the built-in model has none
 * that was trained, so that here the prompt travels over one noise: a circle turns into a square.
 * Run: npx tsx examples/video.ts [--model DIR --adapter DIR] [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { AnimateDiffPipeline, Generator, MotionAdapter, StableDiffusionPipeline, stillMotionAdapter } from 'node-diffusion'

const text = { type: 'string' } as const
const options = {
  model: text,
  adapter: text,
  steps: { type: 'string', default: '20' },
  out: { type: 'string', default: 'out/video' },
} as const
const { model, adapter, steps, out } = parseArgs({ options }).values
const numInferenceSteps = Number(steps)

await using pictures = await StableDiffusionPipeline.fromPretrained(model)
await using motionAdapter = adapter === undefined ? await stillMotionAdapter(pictures.unet) : await MotionAdapter.fromPretrained(adapter)
await using pipe = AnimateDiffPipeline.fromPipe(pictures, { motionAdapter })

const travel = {
  prompt: 'a red circle on a blue background',
  promptTravel: { 3: 'a red circle on a blue background', 8: 'a yellow square on a green background' },
  latents: new Generator(7).randn([1, 4, 1, 16, 16]).repeat([1, 1, 12, 1, 1]),
  numFrames: 12,
}
const trained = { prompt: 'a rocket takes off, clouds of smoke', numFrames: 16, seed: 7 }
const { videos } = await pipe.generate({ ...(adapter === undefined ? travel : trained), numInferenceSteps })
for (const name of ['travel.webp', 'travel.gif', 'travel.png']) {
  await videos[0].save(`${out}/${name}`)
}
await videos[0].frames[0].save(`${out}/first-frame.png`)
console.log(`${videos[0].frames.length} frames in ${out}/travel.webp, .gif and .png`)
