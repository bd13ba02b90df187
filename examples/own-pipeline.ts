/**
 * A pipeline class of one's own, from the family of Stable Diffusion and a task: text to image that starts from symmetric noise, and as usual.
 * Run: npx tsx examples/own-pipeline.ts [--steps 25] [--out DIR]
 */
import { parseArgs } from 'node:util'
import { option, stableDiffusion, type Task, Tensor, type TextToImageOptions, textToImage, textToImageSchema } from 'node-diffusion'
import { z } from 'zod'

const flags = { steps: { type: 'string', default: '25' }, out: { type: 'string', default: 'out/own-pipeline' } } as const
const { steps, out } = parseArgs({ options: flags }).values

interface MirroredOptions extends TextToImageOptions {
  /** Whether the right half of the noise mirrors the left one. @default true */
  mirror?: boolean
}

// What the pipeline takes, and how a run begins: as text to image does, with other latents.
const mirrored: Task<{ sd: MirroredOptions }> = {
  options: { sd: textToImageSchema.extend({ mirror: option(z.boolean().default(true), 'true or false', 'Mirrors the noise.') }) },
  async begin(call, pipe, scope) {
    const start = await textToImage.begin(call, pipe, scope)
    if (!call.options.mirror) return start
    const [left] = scope.keep(start.latents).chunk(2, 3)
    const columns = left.chunk(left.shape[3] ?? 1, 3)
    return { ...start, latents: Tensor.cat([left, ...columns.reverse()], 3) }
  },
}

// The class has all that other pipelines have: fromPretrained, fromPipe, adapters, events, abort.
class MirroredPipeline extends stableDiffusion(mirrored) {}

await using pipe = await MirroredPipeline.fromPretrained()
const call = { prompt: 'a red star on a white background', numInferenceSteps: Number(steps), seed: 4 }
const { images } = await pipe.generate(call)
await images[0].save(`${out}/mirrored.png`)
const { images: plain } = await pipe.generate({ ...call, mirror: false })
await plain[0].save(`${out}/plain.png`)
