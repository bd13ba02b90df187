import { expected } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import type { Call } from './call.ts'
import { rangeSteps } from './denoising-range.ts'
import type { RunOptions } from './generate-options.ts'
import type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './generate-options-xl.ts'
import { prepareImageToImage } from './image-to-image-latents.ts'
import { prepareInpaint } from './inpaint-latents.ts'
import type { Job } from './job.ts'
import { imageToImageXLSchema, inpaintXLSchema, textToImageXLSchema } from './options-xl.ts'
import type { Prepared } from './prepared.ts'
import type { Results } from './result.ts'
import { StableDiffusionXLBase } from './stable-diffusion-xl-base.ts'
import { prepareTextToImage } from './text-to-image-latents.ts'
import { imageToImageIds, textToImageIds } from './time-ids.ts'

type Ids = { positive: number[]; negative: number[] }

/** Text to image with Stable Diffusion XL. Source: diffusers `StableDiffusionXLPipeline`. */
export class StableDiffusionXLPipeline extends StableDiffusionXLBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: TextToImageXLOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<TextToImageXLOptions, T>(options, {
      schema: textToImageXLSchema,
      prepare: async (call) => prepareTextToImage(call, this),
      signal: run.signal,
    })
  }

  protected override timeIds({ options }: Call<TextToImageXLOptions>, { height, width }: Prepared): Ids {
    return textToImageIds(options, [height, width])
  }
}

/** Image to image with Stable Diffusion XL, and its refiner. Source: diffusers `StableDiffusionXLImg2ImgPipeline`. */
export class StableDiffusionXLImg2ImgPipeline extends StableDiffusionXLBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: ImageToImageXLOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<ImageToImageXLOptions, T>(options, {
      schema: imageToImageXLSchema,
      signal: run.signal,
      prepare: (call, scope) => {
        const { denoisingStart, image } = call.options
        if (denoisingStart !== undefined && !(image instanceof Tensor)) {
          throw expected('latents of the first model beside denoisingStart', 'image', image)
        }
        const steps = rangeSteps(call.scheduler, { ...call.options, strength: call.options.strength ?? 0.3, steps: call.steps })
        return prepareImageToImage({ call, vae: this.vae, steps, addNoise: call.options.denoisingStart === undefined, scope })
      },
    })
  }

  protected override timeIds({ options }: Call<ImageToImageXLOptions>, { height, width }: Prepared): Ids {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}

/** Inpainting with Stable Diffusion XL. Source: diffusers `StableDiffusionXLInpaintPipeline`. */
export class StableDiffusionXLInpaintPipeline extends StableDiffusionXLBase {
  /** Starts a generation; the job rejects with `InvalidArgumentError` before any work if an option is wrong. */
  generate<T extends keyof Results = 'image'>(options: InpaintXLOptions & { outputType?: T }, run: RunOptions = {}): Job<Results[T]> {
    return this.start<InpaintXLOptions, T>(options, {
      schema: inpaintXLSchema,
      signal: run.signal,
      prepare: (call, scope) => {
        const steps = rangeSteps(call.scheduler, { ...call.options, strength: call.options.strength ?? 0.9999, steps: call.steps })
        return prepareInpaint({ call, unet: this.unet, vae: this.vae, steps, addNoise: call.options.denoisingStart === undefined, scope })
      },
    })
  }

  protected override timeIds({ options }: Call<InpaintXLOptions>, { height, width }: Prepared): Ids {
    return imageToImageIds(options, [height, width], this.components.requiresAestheticsScore ?? false)
  }
}
