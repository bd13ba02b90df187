import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { Scheduler } from '../schedulers/scheduler.ts'
import type { Tensor } from '../tensor.ts'
import type { Denoiser } from './denoise-options.ts'

/** The UNet as the loop asks for it: embeddings stand in the place of text, and samplers of a fixed variance see no predicted one. */
export function kandinskyDenoiser(unet: UNet2DConditionModel, scheduler: Scheduler, hint?: Tensor): Denoiser {
  return {
    forward: async (sample, timestep, { encoderHiddenStates: imageEmbeds, ...options }) => {
      const [rows = 1] = sample.shape
      using control = hint?.repeat([rows / (hint.shape[0] ?? 1), 1, 1, 1])
      const output = await unet.forward(sample, timestep, { ...options, addedCondKwargs: { imageEmbeds, hint: control } })
      if (scheduler.learnsVariance) {
        return output
      }
      using both = output.sample
      return { sample: both.slice(1, 0, (both.shape[1] ?? 0) / 2) }
    },
  }
}
