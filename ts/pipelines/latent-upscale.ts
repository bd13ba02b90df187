import { z } from 'zod'
import { ConfigError, expected } from '../errors.ts'
import { ClassifierFreeGuidance } from '../guidance/guidance.ts'
import { resizeTensor } from '../image/resize-tensor.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import { commonShape } from './common-options.ts'
import type { Denoiser } from './denoise-options.ts'
import type { CommonOptions, LatentsOptions, PipelineImageInput } from './generate-options.ts'
import { plainScale } from './guidance-scale.ts'
import { encodeImages, repeatBatch } from './latents.ts'
import { enlargingShape, loadPicturesToEnlarge, startFromNoise } from './picture-to-enlarge.ts'
import type { Encoded } from './prepared.ts'
import { type StableDiffusionComponents, stableDiffusion } from './stable-diffusion-base.ts'
import type { Task, TaskHost } from './task.ts'

type Unused = 'guidance' | 'promptEmbeds' | 'negativePromptEmbeds' | 'conditioning' | 'clipSkip'

/** Options of `StableDiffusionLatentUpscalePipeline.generate`; `numInferenceSteps` defaults to 75, `guidanceScale` to 9. */
export interface LatentUpscaleOptions extends Omit<CommonOptions, Unused>, LatentsOptions {
  /** Pictures, or the latents of a Stable Diffusion 1.x pipeline (`outputType: 'latent'`). */
  image: PipelineImageInput
}

const { guidance: _g, promptEmbeds: _p, negativePromptEmbeds: _n, conditioning: _c, clipSkip: _s, ...shape } = commonShape

/** Options of enlarging latents. */
export const latentUpscaleSchema = z.strictObject({
  ...shape,
  ...enlargingShape,
})

/** Channels of the sampler's noise level in the condition: 64 ones, 64 zeros, as the network was trained with. */
const LEVEL = 64

const doubling: Task<{ sd: LatentUpscaleOptions }, TaskHost<StableDiffusionComponents>> = {
  options: { sd: latentUpscaleSchema },
  async begin(call, pipe, scope) {
    const { options, images, noise, scheduler, signal } = call
    const { vae, unet } = pipe
    const channels = vae.config.latent_channels
    if (unet.config.in_channels !== 2 * channels || unet.config.out_channels !== channels + 1) {
      const received = `${unet.config.in_channels} and ${unet.config.out_channels}`
      throw new ConfigError(
        `Expected in_channels ${2 * channels} and out_channels ${channels + 1} in the UNet's config but received ${received}`,
      )
    }
    if (scheduler.config._class_name !== 'EulerDiscreteScheduler') {
      throw expected('an EulerDiscreteScheduler', 'scheduler', scheduler.config._class_name)
    }
    const pixels = await loadPicturesToEnlarge(call, pipe, scope)
    const small = scope.keep(await encodeImages(vae, pixels, { images, generator: noise.generator, spread: 'images', signal }))
    const [rows = 0, columns = 0] = small.shape.slice(2).map((size) => 2 * size)
    const large = scope.keepNew(resizeTensor(small, columns, rows), small)
    const guidance = new ClassifierFreeGuidance({ scale: plainScale(options.guidanceScale) })
    return {
      ...startFromNoise(call, pipe, [rows, columns]),
      guidance,
      denoiser: beside(large, unet, scheduler),
      encoded: await encodeTexts({ ...call, guidance }, pipe.components, scope),
    }
  },
}

/** Doubles the size of latents. Source: diffusers `StableDiffusionLatentUpscalePipeline`; stabilityai/sd-x2-latent-upscaler. */
export class StableDiffusionLatentUpscalePipeline extends stableDiffusion(doubling) {}

/** The network in the sampler's terms: it sees the enlarged latents, takes a quarter of the logarithm of sigma as time, and predicts noise. */
function beside(large: Tensor, unet: UNet2DConditionModel, { timesteps, sigmas }: Call['scheduler']): Denoiser {
  return {
    forward: async (sample, timestep, options) => {
      const sigma = sigmas[timesteps.indexOf(timestep)] ?? 1
      using latents = repeatBatch(large, sample.shape[0] ?? 1)
      using input = Tensor.cat([sample, latents], 1)
      using output = (await unet.forward(input, Math.log(sigma) * 0.25, options)).sample
      using noise = output.slice(1, 0, sample.shape[1])
      const scale = 1 / Math.sqrt(sigma ** 2 + 1)
      return {
        sample: Tensor.linearCombination([
          [scale, sample],
          [sigma * scale, noise],
        ]),
      }
    },
  }
}

/** The last layer's states without the last norm, and the pooled text beside the noise level. Source: `encode_prompt` there. */
async function encodeTexts(
  { options, guidance, images, signal }: Call,
  { tokenizer, textEncoder }: StableDiffusionComponents,
  scope: Scope,
): Promise<Encoded> {
  const { prompt = '', negativePrompt = '', guidanceScale, numImagesPerPrompt } = options
  const prompts = images / numImagesPerPrompt
  const texts = (text: string | string[]): string[] => (Array.isArray(text) ? text : Array.from({ length: prompts }, () => text))
  const truncated: string[] = []
  const encode = async (list: string[]): Promise<{ embeds: Tensor; pooled: Tensor }> => {
    const tokens = tokenizer.encode(list, { padding: 'max_length', truncation: true })
    using ids = tokens.inputIds
    using _mask = tokens.attentionMask
    truncated.push(...tokens.truncated.filter((lost) => lost !== ''))
    const output = await textEncoder.forward(ids, { outputHiddenStates: true, signal })
    const states = output.hiddenStates?.map((state) => scope.keep(state)) ?? []
    const last = states.at(-1) ?? output.lastHiddenState
    scope.keep(output.lastHiddenState)
    const pooled = scope.keep(output.poolerOutput)
    return {
      embeds: scope.keep(last.repeatInterleave(numImagesPerPrompt, 0)),
      pooled: scope.keep(pooled.repeatInterleave(numImagesPerPrompt, 0)),
    }
  }
  const positive = await encode(texts(guidanceScale === 0 ? '' : prompt))
  const guided = guidance.rows.some((row) => row.prompt === 'negative')
  const negative = guided ? await encode(texts(negativePrompt)) : undefined
  const pooled = guidance.rows.map((row) => (row.prompt === 'negative' && negative ? negative.pooled : positive.pooled))
  const all = scope.keep(Tensor.cat(pooled))
  const level = scope.keep(Tensor.cat([Tensor.ones([all.shape[0] ?? 1, LEVEL]), Tensor.zeros([all.shape[0] ?? 1, LEVEL])], 1))
  return {
    truncated: [...new Set(truncated)],
    conditioning: { positive, negative, timestepCond: scope.keep(Tensor.cat([level, all], 1)) },
  }
}
