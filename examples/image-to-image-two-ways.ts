/**
 * Image-to-image in two ways. The tint: a start that is part picture, part full noise, and then every step. The usual one: noise of the strength's
 * own level is added to the scaled latents, and only the last part of the steps is run.
 * Follows the image-to-image section in chapter 5 of "Using Stable Diffusion with Python" (the tint) and diffusers' img2img pipeline.
 * Run: npx tsx examples/image-to-image-two-ways.ts [--steps 25] [--out DIR]
 */
import { parseArgs } from 'node:util'
import * as nd from 'node-diffusion'

const options = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/image-to-image-two-ways' } } as const
const { values } = parseArgs({ options })
const steps = Number(values.steps)

await using pipe = await nd.StableDiffusionImg2ImgPipeline.fromPretrained('shapes')
const picture = new URL('pictures/circle.png', import.meta.url)
const prompt = 'a yellow circle on a green background'
const strength = 0.75

async function tint(): Promise<nd.Image[]> {
  const scheduler = nd.EulerDiscreteScheduler.fromConfig(pipe.scheduler)
  const { promptEmbeds, negativePromptEmbeds } = await pipe.encodePrompt(prompt)
  const encoderHiddenStates = nd.Tensor.cat([negativePromptEmbeds, promptEmbeds])
  const z = (await pipe.vae.encode(await new nd.VaeImageProcessor().preprocess(picture))).latentDist.sample(new nd.Generator(1))
  scheduler.setTimesteps(steps)
  let x = z.mul(1 - strength).add(new nd.Generator(2).randn(z.shape).mul(scheduler.initNoiseSigma))
  for (const t of scheduler.timesteps) {
    const input = scheduler.scaleModelInput(nd.Tensor.cat([x, x]), t)
    const [u, c] = (await pipe.unet.forward(input, t, { encoderHiddenStates })).sample.chunk(2)
    x = scheduler.step(u.add(c.sub(u).mul(7.5)), t, x).prevSample
  }
  return nd.toImages((await pipe.vae.decode(x.div(pipe.vae.config.scaling_factor))).sample)
}

for (const image of await tint()) await image.save(`${values.out}/tint.png`)
const { images } = await pipe.generate({ prompt, image: picture, strength, seed: 2, numInferenceSteps: steps })
await images[0].save(`${values.out}/added-noise.png`)
console.log(`tint.png (${steps} steps) and added-noise.png (${Math.trunc(steps * strength)} steps) in ${values.out}`)
