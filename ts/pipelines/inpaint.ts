import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import { Tensor } from '../tensor.ts'
import { type Call, pictureSize } from './call.ts'
import type { InpaintOptions } from './generate-options.ts'
import { concatenate, inpaintLatents, reblend, unetKind } from './inpaint-latents.ts'
import { maskLatents, readInpaintInputs } from './inpaint-mask.ts'
import type { Job } from './job.ts'
import { strengthSteps } from './latents.ts'
import { inpaintSchema } from './options.ts'
import type { Prepared } from './pipeline.ts'
import type { Results } from './result.ts'
import type { Scope } from './scope.ts'
import { StableDiffusionBase } from './stable-diffusion-base.ts'

/**
 * Repaints the white part of a mask with Stable Diffusion 1.x and 2.x.
 *
 * A UNet of 4 input channels gets the kept part blended back in after every step; one of 9 gets mask and masked picture as further
 * channels. Source: diffusers `StableDiffusionInpaintPipeline`.
 */
export class StableDiffusionInpaintPipeline extends StableDiffusionBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: InpaintOptions & { outputType?: T }, run: { signal?: AbortSignal } = {}): Job<Results[T]> {
    const prepare = (call: Call<InpaintOptions>, scope: Scope): Promise<Prepared> => this.#prepare(call, scope)
    return this.start<InpaintOptions, T>(options, { schema: inpaintSchema, prepare, signal: run.signal })
  }

  async #prepare(call: Call<InpaintOptions>, scope: Scope): Promise<Prepared> {
    const { options, images, scheduler, steps, signal } = call
    const { unet, vae, vaeScaleFactor: factor } = this
    const kind = unetKind(unet, vae)
    const { height, width } = pictureSize(options, { unet, factor, multiple: factor })
    const { timesteps, begin } = strengthSteps(scheduler, steps, options.strength ?? 1)
    const size = { height: height / factor, width: width / factor }
    const { pixels, mask, crop } = await readInpaintInputs(options, { height, width, factor, latentChannels: vae.config.latent_channels, scope, signal })
    const small = maskLatents(mask, size, images, scope)
    const { latents, drawn, clean, masked } = await inpaintLatents({ call, vae, kind, pixels, mask, size, timestep: timesteps[0] ?? 0, scope })
    return {
      latents,
      timesteps,
      begin,
      height,
      width,
      conditions: masked && [concatenate(scope.keep(Tensor.cat([small, masked], 1)))],
      afterStep: kind === 'blend' && clean ? reblend({ clean, drawn, mask: small, scheduler, timesteps }) : undefined,
      paste: crop && ((image) => new VaeImageProcessor().applyOverlay(crop.mask, crop.original, image, crop.box)),
      parameters: { strength: options.strength ?? 1, paddingMaskCrop: options.paddingMaskCrop },
    }
  }
}
