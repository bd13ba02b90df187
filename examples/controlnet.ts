/**
 * ControlNet: a picture that says where things are. Its scale, the part of the steps in which it acts, two at once, and image to image beside it.
 * Follows the listings of chapter 13. The ControlNet was trained for the built-in model (models/train/train_controlnet.py) on white silhouettes; for
 * a published one say --model stable-diffusion-v1-5/stable-diffusion-v1-5 --controlnet lllyasviel/sd-controlnet-canny --image edges.png --prompt TEXT
 * Run: npx tsx examples/controlnet.ts [--steps 20] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ControlNetModel, controlNet, Image, imageStrip, StableDiffusionImg2ImgPipeline, StableDiffusionPipeline } from 'node-diffusion'

const options = {
  model: { type: 'string', default: 'shapes' },
  controlnet: { type: 'string', default: fileURLToPath(new URL('../test/fixtures/adapters/silhouette', import.meta.url)) },
  image: { type: 'string' },
  prompt: { type: 'string', default: 'a red shape on a blue background' },
  steps: { type: 'string', default: '20' },
  out: { type: 'string', default: 'out/controlnet' },
} as const
const { model, controlnet, image, prompt, steps, out } = parseArgs({ options }).values

/** A white disc on black; x, y and r as shares of the picture. */
function disc(x: number, y: number, r: number, size = 128): Image {
  const inside = (i: number): boolean => Math.hypot((i % size) / size - x, Math.floor(i / size) / size - y) < r
  return new Image({
    width: size,
    height: size,
    data: Uint8Array.from({ length: size * size * 3 }, (_, i) => (inside(Math.floor(i / 3)) ? 255 : 0)),
  })
}

await using net = await ControlNetModel.fromPretrained(controlnet)
await using pipe = await StableDiffusionPipeline.fromPretrained(model)
const control = image ?? disc(0.7, 0.3, 0.2)
const call = { prompt, numInferenceSteps: Number(steps), seed: 5 }
const plain = await pipe.generate(call)
const results = {
  plain,
  controlled: await pipe.generate({ ...call, conditions: [controlNet(net, { image: control })] }),
  weaker: await pipe.generate({ ...call, conditions: [controlNet(net, { image: control, scale: 0.4 })] }),
  'first half': await pipe.generate({ ...call, conditions: [controlNet(net, { image: control, end: 0.5 })] }),
  'two at once': await pipe.generate({
    ...call,
    conditions: [controlNet(net, { image: control, scale: 0.7 }), controlNet(net, { image: disc(0.3, 0.7, 0.2), scale: 0.7 })],
  }),
  'image to image': await StableDiffusionImg2ImgPipeline.fromPipe(pipe).generate({
    ...call,
    image: plain.images[0],
    strength: 0.9,
    conditions: [controlNet(net, { image: control })],
  }),
}
await (await imageStrip(Object.entries(results).map(([title, { images }]) => ({ title, image: images[0] })))).save(`${out}/strip.png`)
console.log(`${out}/strip.png`)
