/**
 * SDXL's base and refiner as an ensemble: the refiner takes the latents over after a share of the steps, and both share an encoder and the VAE.
 * Run: npx tsx examples/published/sdxl-refiner.ts [--prompt TEXT] [--start 0.8] [--steps 40] [--out FILE]
 */
import { parseArgs } from 'node:util'
import { StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline } from 'node-diffusion'

const text = (value: string): { type: 'string'; default: string } => ({ type: 'string', default: value })
const flags = { prompt: text('a lighthouse in a storm'), start: text('0.8'), steps: text('40'), out: text('out/lighthouse.png') }
const { prompt, start, steps, out } = parseArgs({ options: flags }).values

const half = { variant: 'fp16', dtype: 'f16' } as const
await using base = await StableDiffusionXLPipeline.fromPretrained('stabilityai/stable-diffusion-xl-base-1.0', half)
const { textEncoder2, tokenizer2 } = base.components
await using refiner = await StableDiffusionXLImg2ImgPipeline.fromPretrained('stabilityai/stable-diffusion-xl-refiner-1.0', {
  ...half,
  textEncoder2,
  tokenizer2,
  vae: base.vae,
})
const common = { prompt, numInferenceSteps: Number(steps), seed: 7 }
const { latents } = await base.generate({ ...common, denoisingEnd: Number(start), outputType: 'latent' })
const { images } = await refiner.generate({ ...common, image: latents, denoisingStart: Number(start) })
await images[0].save(out)
