/**
 * DDPM sampling by hand: x_{t-1} = 1 / sqrt(alpha) (x_t - (1 - alpha) / sqrt(1 - abar) eps) + sqrt(1 - alpha) z, and no z in the last step.
 * Follows the reverse process in chapter 4 of "Using Stable Diffusion with Python". With --steps 1000 every training timestep is visited, as there;
 * with fewer, alpha is the quotient of the two abar that a step connects. Every step is compared with DDPMScheduler.
 * Run: npx tsx examples/ddpm-by-hand.ts [--steps 100] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { DDPMScheduler, Generator, StableDiffusionPipeline, Tensor, toImages } from 'node-diffusion'

const options = { steps: { type: 'string', default: '100' }, out: { type: 'string', default: 'out/ddpm-by-hand' } } as const
const { values } = parseArgs({ options })
const steps = Number(values.steps)

const abar: number[] = []
for (let i = 0, product = 1; i < 1000; i++) {
  const root = Math.sqrt(0.00085) + ((Math.sqrt(0.012) - Math.sqrt(0.00085)) * i) / 999
  product *= 1 - root * root
  abar.push(product)
}
const abarAt = (t: number): number => abar[t] ?? 1

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const { promptEmbeds, negativePromptEmbeds } = await pipe.encodePrompt('an orange cross on a black background')
const encoderHiddenStates = Tensor.cat([negativePromptEmbeds, promptEmbeds])

const config = { variance_type: 'fixed_large', clip_sample: false, timestep_spacing: 'trailing' } as const
const scheduler = new DDPMScheduler({ beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', ...config })
scheduler.setTimesteps(steps)

const generator = new Generator(7)
let x = generator.randn([1, 4, 16, 16])
for (let k = steps; k > 0; k--) {
  const t = Math.round((k * 1000) / steps) - 1
  const before = Math.round(((k - 1) * 1000) / steps) - 1
  const alpha = abarAt(t) / abarAt(before)
  const [uncond, text] = (await pipe.unet.forward(Tensor.cat([x, x]), t, { encoderHiddenStates })).sample.chunk(2)
  const eps = uncond.add(text.sub(uncond).mul(4))
  const z = k > 1 ? generator.randn(x.shape) : x.mul(0)
  const theirs = scheduler.step(eps, t, x, { varianceNoise: z }).prevSample
  x = x.sub(eps.mul((1 - alpha) / Math.sqrt(1 - abarAt(t)))).div(Math.sqrt(alpha))
  x = x.add(z.mul(Math.sqrt(1 - alpha)))
  const difference = x.sub(theirs).abs().max().item()
  if (difference > 1e-4) throw new Error(`timestep ${t}: off by ${difference}`)
}
const { sample } = await pipe.vae.decode(x.div(pipe.vae.config.scaling_factor))
for (const image of await toImages(sample)) await image.save(`${values.out}/image.png`)
console.log(`${values.out}/image.png; ${steps} steps by hand equal DDPMScheduler`)
