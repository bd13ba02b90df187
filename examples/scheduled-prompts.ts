/**
 * Two subjects in one picture: blended embeddings, a prompt that changes on the way, and texts that alternate; and the same schedule as a loop by hand.
 * Follows chapter 12 of "Using Stable Diffusion with Python" (Compel's blend, parse_scheduled_prompts, scheduler_call).
 * Run: npx tsx examples/scheduled-prompts.ts [--steps 20] [--out DIR]
 */
import { parseArgs } from 'node:util'
import * as nd from 'node-diffusion'
import { type Image, StableDiffusionPipeline, Tensor } from 'node-diffusion'

const options = { steps: { type: 'string', default: '20' }, out: { type: 'string', default: 'out/scheduled-prompts' } } as const
const { values } = parseArgs({ options })
const steps = Number(values.steps)

await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const scheduler = nd.EulerDiscreteScheduler.fromConfig(pipe.scheduler)
const common = { numInferenceSteps: steps, seed: 1, scheduler }

const images: Image[] = []
for (const weights of ['0.5, 0.5', '0.7, 0.3']) {
  const prompt = `("a red circle on a white background", "a blue star on a white background").blend(${weights})`
  images.push((await pipe.generate({ ...common, prompt, promptSyntax: 'compel' })).images[0])
}

const scheduled = 'a [red:blue:0.2] circle on a white background'
const counted = { name: 'a1111', firstStep: 1 } as const // steps counted from 1, as the book does
images.push((await pipe.generate({ ...common, prompt: scheduled, promptSyntax: counted })).images[0])
images.push((await pipe.generate({ ...common, prompt: 'a [red|blue] circle on a white background', promptSyntax: 'a1111' })).images[0])

/** The schedule by hand: one text for each step, encoded once, put into the loop. */
async function byHand(prompt: string, seed: number): Promise<Image> {
  const schedule = nd.promptSchedule(prompt, steps)
  const texts = Array.from({ length: steps }, (_, i) => schedule.find(({ endAtStep }) => i < endAtStep)?.text ?? '')
  const contexts = new Map<string, Tensor>()
  for (const text of new Set(texts)) {
    const { promptEmbeds, negativePromptEmbeds } = await pipe.encodePrompt(text)
    contexts.set(text, Tensor.cat([negativePromptEmbeds, promptEmbeds]))
  }
  scheduler.setTimesteps(steps)
  let latents = new nd.Generator(seed).randn([1, 4, 16, 16]).mul(scheduler.initNoiseSigma)
  for (const [i, t] of scheduler.timesteps.entries()) {
    const encoderHiddenStates = contexts.get(texts[i] ?? '')
    if (encoderHiddenStates === undefined) continue
    const input = scheduler.scaleModelInput(Tensor.cat([latents, latents]), t)
    const [uncond, cond] = (await pipe.unet.forward(input, t, { encoderHiddenStates })).sample.chunk(2)
    latents = scheduler.step(uncond.add(cond.sub(uncond).mul(7.5)), t, latents).prevSample
  }
  const [image] = await nd.toImages((await pipe.vae.decode(latents.div(pipe.vae.config.scaling_factor))).sample)
  return image as Image
}
images.push(await byHand(scheduled, 1))
await (await nd.imageGrid(images, { rows: 1, cols: images.length })).save(`${values.out}/blend-blend-schedule-alternation-hand.png`)
console.log(nd.promptSchedule(scheduled, steps))
