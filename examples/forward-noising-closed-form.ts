/**
 * Forward diffusion in one jump: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, with abar_t the product of all 1 - beta up to t.
 * Follows the reparameterised forward process in chapter 4 of "Using Stable Diffusion with Python"; it is also the scheduler's addNoise.
 * Run: npx tsx examples/forward-noising-closed-form.ts [--out DIR]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { DDPMScheduler, Generator, type Image, imageGrid, toImages, VaeImageProcessor } from 'node-diffusion'

const { out } = parseArgs({ options: { out: { type: 'string', default: 'out/forward-noising-closed-form' } } }).values

const [betaStart, betaEnd, steps] = [0.00085, 0.012, 1000]
let product = 1
const abar = Array.from({ length: steps }, (_, i) => {
  const root = Math.sqrt(betaStart) + ((Math.sqrt(betaEnd) - Math.sqrt(betaStart)) * i) / (steps - 1)
  product *= 1 - root * root
  return product
})

const scheduler = new DDPMScheduler({ beta_start: betaStart, beta_end: betaEnd, beta_schedule: 'scaled_linear' })
const clean = await new VaeImageProcessor().preprocess(new URL('pictures/circle.png', import.meta.url))
const noise = new Generator(1).randn(clean.shape)
const images: Image[] = []
for (const t of [0, 100, 250, 400, 600, 999]) {
  const a = abar[t] ?? 0
  const noisy = clean.mul(Math.sqrt(a)).add(noise.mul(Math.sqrt(1 - a)))
  const difference = noisy
    .sub(scheduler.addNoise(clean, noise, [t]))
    .abs()
    .max()
    .item()
  console.log(`t ${t}: abar ${a.toFixed(5)}, by hand and by addNoise differ by at most ${difference.toExponential(1)}`)
  assert.ok(difference < 1e-4)
  images.push(...(await toImages(noisy)))
}
await (await imageGrid(images, { rows: 1, cols: images.length })).save(`${out}/noisy.png`)
console.log(`${out}/noisy.png`)
