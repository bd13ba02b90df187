/**
 * Forward diffusion step by step: x becomes sqrt(1 - beta) x + sqrt(beta) n, sixteen times.
 * Follows the forward process in chapter 4 of "Using Stable Diffusion with Python". Its formula has variance beta, so the noise is multiplied by
 * sqrt(beta); the listing there multiplies by beta, which leaves 0.43 of the picture under noise of only 0.29 after sixteen steps.
 * Run: npx tsx examples/forward-noising.ts [--out DIR]
 */
import { parseArgs } from 'node:util'
import { DDPMScheduler, Generator, type Image, imageGrid, toImages, VaeImageProcessor } from 'node-diffusion'

const { out } = parseArgs({ options: { out: { type: 'string', default: 'out/forward-noising' } } }).values

const beta = 0.1
const generator = new Generator(1)
let x = await new VaeImageProcessor().preprocess(new URL('pictures/circle.png', import.meta.url))
const start = x
const images: Image[] = []
for (let i = 0; i < 16; i++) {
  images.push(...(await toImages(x)))
  x = x.mul(Math.sqrt(1 - beta)).add(generator.randn(x.shape).mul(Math.sqrt(beta)))
}
await (await imageGrid(images, { rows: 2, cols: 8 })).save(`${out}/steps.png`)
console.log(`${out}/steps.png`)

const { alphasCumprod } = new DDPMScheduler({ num_train_timesteps: 16, trained_betas: Array.from({ length: 16 }, () => beta) })
const signal = Math.sqrt(alphasCumprod[15] ?? 0)
const noise = x.sub(start.mul(signal)).std().item()
console.log(
  `after 16 steps: signal ${signal.toFixed(4)}, noise ${noise.toFixed(4)} (sqrt(1 - signal^2) = ${Math.sqrt(1 - signal ** 2).toFixed(4)})`,
)
