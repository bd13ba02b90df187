/**
 * Side by side: two images with titles in one picture, the same seed without and with a negative prompt.
 * Follows the comparison figures of "Negative prompts and image-to-image from components".
 * Run: npx tsx examples/side-by-side.ts [--steps 25] [--out DIR]
 */
import { mkdir } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { type Image, StableDiffusionPipeline } from 'node-diffusion'
import sharp, { type OverlayOptions } from 'sharp'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/side-by-side' } } as const
const { steps, out } = parseArgs({ options }).values
await mkdir(out, { recursive: true })

/** One white picture with every image under its title, 16 pixels apart. */
async function figure(entries: { title: string; image: Image }[], path: string): Promise<void> {
  const [gap, head] = [16, 28]
  const width = gap + entries.reduce((sum, { image }) => sum + image.width + gap, 0)
  const height = head + Math.max(...entries.map(({ image }) => image.height)) + gap
  const layers: OverlayOptions[] = []
  let left = gap
  for (const { title, image } of entries) {
    const text = `<text x="50%" y="20" text-anchor="middle" font-family="sans-serif" font-size="12">${title}</text>`
    layers.push({ input: Buffer.from(`<svg width="${image.width}" height="${head}">${text}</svg>`), left, top: 0 })
    layers.push({ input: await image.png(), left, top: head })
    left += image.width + gap
  }
  await sharp({ create: { width, height, channels: 3, background: 'white' } })
    .composite(layers)
    .png()
    .toFile(path)
}

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const request = { prompt: 'a circle on a white background', seed: 100, numInferenceSteps: Number(steps) }
const plain = await pipe.generate(request)
const negative = await pipe.generate({ ...request, negativePrompt: 'red' })
await figure(
  [
    { title: 'without', image: plain.images[0] },
    { title: 'negative prompt: red', image: negative.images[0] },
  ],
  `${out}/figure.png`,
)
console.log(`${out}/figure.png`)
