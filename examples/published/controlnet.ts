/**
 * Text to image that follows the edges of a picture, with a published ControlNet.
 * Run: npx tsx examples/published/controlnet.ts --image bird.png [--prompt TEXT] [--model ID] [--controlnet ID] [--scale 1] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { ControlNetModel, canny, controlNet, StableDiffusionPipeline } from 'node-diffusion'

const text = (value: string): { type: 'string'; default: string } => ({ type: 'string', default: value })
const flags = {
  image: text('bird.png'),
  prompt: text('a stained glass window'),
  model: text('stable-diffusion-v1-5/stable-diffusion-v1-5'),
  controlnet: text('lllyasviel/sd-controlnet-canny'),
  scale: text('1'),
  out: text('out/controlnet'),
}
const { image, prompt, model, controlnet, scale, out } = parseArgs({ options: flags }).values

await using net = await ControlNetModel.fromPretrained(controlnet)
await using pipe = await StableDiffusionPipeline.fromPretrained(model)
const edges = await canny(image)
const { images } = await pipe.generate({
  prompt,
  height: edges.height - (edges.height % 8),
  width: edges.width - (edges.width % 8),
  numInferenceSteps: 25,
  conditions: [controlNet(net, { image: edges, scale: Number(scale) })],
  seed: 7,
})
await edges.save(`${out}/edges.png`)
await images[0].save(`${out}/picture.png`)
