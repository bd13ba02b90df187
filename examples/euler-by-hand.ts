/**
 * Euler's method by hand: x0 = x - sigma eps, d = (x - x0) / sigma, x = x + d (sigma_next - sigma).
 * Follows the Euler scheduler in chapter 5 of "Using Stable Diffusion with Python"; every step is compared with EulerDiscreteScheduler.
 * Run: npx tsx examples/euler-by-hand.ts [--steps 20] [--out DIR]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { EulerDiscreteScheduler, Generator, StableDiffusionPipeline, Tensor, toImages } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/euler-by-hand' } } as const
const { values } = parseArgs({ options })
const steps = Number(values.steps)

const trained: number[] = []
for (let i = 0, abar = 1; i < 1000; i++) {
  const root = Math.sqrt(0.00085) + ((Math.sqrt(0.012) - Math.sqrt(0.00085)) * i) / 999
  abar *= 1 - root * root
  trained.push(Math.sqrt((1 - abar) / abar))
}
const trainedSigma = (i: number): number => trained[i] ?? 0
const timesteps = Array.from({ length: steps }, (_, k) => (999 * (steps - 1 - k)) / (steps - 1))
const sigmas = timesteps.map((t) => {
  const low = Math.floor(t)
  return trainedSigma(low) + (t - low) * (trainedSigma(Math.min(low + 1, 999)) - trainedSigma(low))
})

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const { promptEmbeds, negativePromptEmbeds } = await pipe.encodePrompt('a cyan square on a red background')
const encoderHiddenStates = Tensor.cat([negativePromptEmbeds, promptEmbeds])
const scheduler = new EulerDiscreteScheduler({ beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear' })
scheduler.setTimesteps(steps)

let x = new Generator(3).randn([1, 4, 16, 16]).mul(sigmas[0] ?? 1)
for (const [k, t] of scheduler.timesteps.entries()) {
  const [sigma = 0, next = 0] = sigmas.slice(k, k + 2)
  const input = x.div(Math.sqrt(sigma ** 2 + 1))
  const [u, c] = (await pipe.unet.forward(Tensor.cat([input, input]), t, { encoderHiddenStates })).sample.chunk(2)
  const eps = u.add(c.sub(u).mul(7.5))
  const x0 = x.sub(eps.mul(sigma))
  const byHand = x.add(
    x
      .sub(x0)
      .div(sigma)
      .mul(next - sigma),
  )
  const difference = byHand
    .sub(scheduler.step(eps, t, x).prevSample)
    .abs()
    .max()
    .item()
  assert.ok(difference < 1e-3, `step ${k} differs by ${difference}`)
  x = byHand
}
for (const image of await toImages((await pipe.vae.decode(x.div(pipe.vae.config.scaling_factor))).sample))
  await image.save(`${values.out}/image.png`)
console.log(`${values.out}/image.png; ${steps} steps by hand equal EulerDiscreteScheduler`)
