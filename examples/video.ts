/**
 * Text to video with AnimateDiff: frames that move, a prompt that travels over one noise, and a video made over; as WebP, GIF and PNG.
 * Follows the listing of chapter 14. The motion adapter was trained for the built-in model (models/train/train_motion.py); for published ones say
 * --model stable-diffusion-v1-5/stable-diffusion-v1-5 --adapter guoyww/animatediff-motion-adapter-v1-5-2 --prompt "a rocket takes off"
 * Run: npx tsx examples/video.ts [--frames 8] [--steps 15] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { AnimateDiffPipeline, AnimateDiffVideoToVideoPipeline, imageStrip, MotionAdapter, StableDiffusionPipeline } from 'node-diffusion'

const options = {
  model: { type: 'string', default: 'shapes' },
  adapter: { type: 'string', default: fileURLToPath(new URL('../test/fixtures/adapters/motion', import.meta.url)) },
  prompt: { type: 'string', default: 'a red circle on a blue background' },
  frames: { type: 'string', default: '8' },
  steps: { type: 'string', default: '15' },
  out: { type: 'string', default: 'out/video' },
} as const
const { model, adapter, prompt, frames, steps, out } = parseArgs({ options }).values

await using pictures = await StableDiffusionPipeline.fromPretrained(model)
await using motionAdapter = await MotionAdapter.fromPretrained(adapter)
await using pipe = AnimateDiffPipeline.fromPipe(pictures, { motionAdapter })
const common = { numInferenceSteps: Number(steps), seed: 7 }
const call = { ...common, prompt, numFrames: Number(frames) }
const [moving] = (await pipe.generate(call)).videos
for (const name of ['moving.webp', 'moving.gif', 'moving.png']) {
  await moving.save(`${out}/${name}`)
}

const promptTravel = { [call.numFrames - 1]: 'a yellow square on a green background' }
const [travel] = (await pipe.generate({ ...call, promptTravel })).videos
await travel.save(`${out}/travel.webp`)

const again = AnimateDiffVideoToVideoPipeline.fromPipe(pipe)
const [redrawn] = (await again.generate({ ...common, prompt: 'a pink star on a black background', video: moving, strength: 0.8 })).videos
await redrawn.save(`${out}/redrawn.webp`)

const rows = { moving, travel, redrawn }
for (const [name, video] of Object.entries(rows)) {
  await (await imageStrip(video.frames.map((image, i) => ({ title: `${name} ${i}`, image })))).save(`${out}/${name}-frames.png`)
}
console.log(`${moving.frames.length} frames each in ${out}: moving.webp, .gif and .png, travel.webp, redrawn.webp`)
