/**
 * PNDM by hand: pseudo linear multistep with a history of four predictions (the Runge-Kutta warm-up is skipped).
 * Follows the default scheduler in chapters 3 and 5 of "Using Stable Diffusion with Python"; every step is compared with PNDMScheduler.
 * Run: npx tsx examples/pndm-by-hand.ts [--steps 30] [--out DIR]
 */
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import { Generator, PNDMScheduler, StableDiffusionPipeline, Tensor, toImages } from 'node-diffusion'

const options = { steps: { type: 'string', default: '30' }, out: { type: 'string', default: 'out/pndm-by-hand' } } as const
const { values } = parseArgs({ options })
const steps = Number(values.steps)

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const scheduler = PNDMScheduler.fromConfig(pipe.scheduler, { skip_prk_steps: true })
const { promptEmbeds, negativePromptEmbeds } = await pipe.encodePrompt('a white ring on a purple background')
const encoderHiddenStates = Tensor.cat([negativePromptEmbeds, promptEmbeds])

const abar: number[] = []
for (let i = 0, product = 1; i < 1000; i++) {
  const root = Math.sqrt(0.00085) + ((Math.sqrt(0.012) - Math.sqrt(0.00085)) * i) / 999
  product *= 1 - root * root
  abar.push(product)
}
const abarAt = (t: number): number => abar[Math.max(t, 0)] ?? 1

const stride = Math.floor(1000 / steps)
const spaced = Array.from({ length: steps }, (_, i) => i * stride + 1).reverse()
const timesteps = [...spaced.slice(0, 2), ...spaced.slice(1)]
scheduler.setTimesteps(steps)
assert.deepEqual([...scheduler.timesteps], timesteps)

const weights = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]
const history: Tensor[] = []
const noise = new Generator(3).randn([1, 4, 16, 16])
let x = noise
for (const [k, t] of timesteps.entries()) {
  const [u, c] = (await pipe.unet.forward(Tensor.cat([x, x]), t, { encoderHiddenStates })).sample.chunk(2)
  const eps = u.add(c.sub(u).mul(3))
  if (k !== 1) history.unshift(eps)
  const terms = k === 1 ? [0.5, 0.5] : (weights[Math.min(history.length, 4) - 1] ?? [])
  const used = k === 1 ? [eps, ...history] : history
  const mixed = Tensor.linearCombination(terms.flatMap((weight, i) => used.slice(i, i + 1).map((e): [number, Tensor] => [weight, e])))
  const from = k === 1 ? t + stride : t
  const [a, ap] = [abarAt(from), abarAt(from - stride)]
  const factor = (ap - a) / (a * Math.sqrt(1 - ap) + Math.sqrt(a * (1 - a) * ap))
  const byHand = (k === 1 ? noise : x).mul(Math.sqrt(ap / a)).sub(mixed.mul(factor))
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
console.log(`${values.out}/image.png; ${timesteps.length} steps by hand equal PNDMScheduler`)
