/**
 * T2I-Adapter: like a ControlNet, but run once for a picture instead of at every step.
 * By default it runs models of random weights, so that the pictures are noise; for real ones say
 * --model stable-diffusion-v1-5/stable-diffusion-v1-5 --adapter TencentARC/t2iadapter_color_sd14v1 --image palette.png --size 512 --steps 25
 * Run: npx tsx examples/t2i-adapter.ts [--steps 10] [--out DIR]
 */
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { imageStrip, StableDiffusionPipeline, T2IAdapter, t2iAdapter } from 'node-diffusion'

const fixture = (name: string): string => fileURLToPath(new URL(`../test/fixtures/parity/${name}`, import.meta.url))
const options = {
  model: { type: 'string', default: fixture('pipelines/tiny-sd15') },
  adapter: { type: 'string', default: fixture('models/t2i_adapter_half') },
  image: { type: 'string', default: fileURLToPath(new URL('pictures/circle.png', import.meta.url)) },
  size: { type: 'string', default: '64' },
  steps: { type: 'string', default: '10' },
  out: { type: 'string', default: 'out/t2i-adapter' },
} as const
const { model, adapter, image, size, steps, out } = parseArgs({ options }).values

await using net = await T2IAdapter.fromPretrained(adapter)
await using pipe = await StableDiffusionPipeline.fromPretrained(model)
const call = { prompt: 'a harbour at night', height: Number(size), width: Number(size), numInferenceSteps: Number(steps), seed: 7 }
const results = {
  plain: await pipe.generate(call),
  adapted: await pipe.generate({ ...call, conditions: [t2iAdapter(net, { image })] }),
  'half as strong': await pipe.generate({ ...call, conditions: [t2iAdapter(net, { image, scale: 0.5 })] }),
  'first half': await pipe.generate({ ...call, conditions: [t2iAdapter(net, { image, end: 0.5 })] }),
}
await (await imageStrip(Object.entries(results).map(([title, { images }]) => ({ title, image: images[0] })))).save(`${out}/strip.png`)
console.log(`${out}/strip.png`)
