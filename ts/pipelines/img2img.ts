import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import { randnTensor } from '../random.ts'
import type { Call } from './call.ts'
import type { ImageToImageOptions } from './generate-options.ts'
import type { Job } from './job.ts'
import { encodeImages, strengthSteps } from './latents.ts'
import { imageToImageSchema } from './options.ts'
import { loadPictures } from './pictures.ts'
import type { Prepared } from './pipeline.ts'
import type { Results } from './result.ts'
import type { Scope } from './scope.ts'
import { StableDiffusionBase } from './stable-diffusion-base.ts'

/**
 * Image to image with Stable Diffusion 1.x and 2.x: noise is added to the picture, and the last part of the steps runs.
 *
 * The result has the picture's size, down to a multiple of 8. Source: diffusers `StableDiffusionImg2ImgPipeline`.
 */
export class StableDiffusionImg2ImgPipeline extends StableDiffusionBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: ImageToImageOptions & { outputType?: T }, run: { signal?: AbortSignal } = {}): Job<Results[T]> {
    const prepare = (call: Call<ImageToImageOptions>, scope: Scope): Promise<Prepared> => this.#prepare(call, scope)
    return this.start<ImageToImageOptions, T>(options, { schema: imageToImageSchema, prepare, signal: run.signal })
  }

  async #prepare({ options, images, noise, scheduler, steps, signal }: Call<ImageToImageOptions>, scope: Scope): Promise<Prepared> {
    const { image, strength = 0.8 } = options
    const { timesteps, begin } = strengthSteps(scheduler, steps, strength)
    const factor = this.vaeScaleFactor
    const processor = new VaeImageProcessor({ vaeScaleFactor: factor, vaeLatentChannels: this.vae.config.latent_channels })
    const pixels = scope.keep(await processor.preprocess(await loadPictures(image, { name: 'image', signal })))
    const encoded = scope.keep(await encodeImages(this.vae, pixels, { images, generator: noise.generator, spread: 'images', signal }))
    const drawn = scope.keep(randnTensor(encoded.shape, noise.generator))
    const latents = scheduler.addNoise(encoded, drawn, Array.from({ length: images }, () => timesteps[0] ?? 0))
    const [height = 0, width = 0] = encoded.shape.slice(2).map((size) => size * factor)
    return { latents, timesteps, begin, height, width, parameters: { strength } }
  }
}
