import type { z } from 'zod'
import { KandinskyV22Decoder } from './kandinsky-v22-decoder.ts'
import {
  type KandinskyHintImageOptions,
  type KandinskyHintOptions,
  type KandinskyImageOptions,
  type KandinskyInpaintOptions,
  type KandinskyTextOptions,
  kandinskySchemas,
} from './kandinsky-v22-options.ts'
import { type LatentsStart, startFromImage, startFromMask, startFromNoise, withHint } from './kandinsky-v22-starts.ts'

/**
 * Pictures of image embeddings, which `KandinskyV22PriorPipeline` draws for texts. Source: diffusers `KandinskyV22Pipeline`.
 *
 * ```ts no-run
 * const prior = await KandinskyV22PriorPipeline.fromPretrained('kandinsky-community/kandinsky-2-2-prior')
 * const pipe = await KandinskyV22Pipeline.fromPretrained('kandinsky-community/kandinsky-2-2-decoder')
 * const { imageEmbeds, negativeImageEmbeds } = await prior.generate({ prompt: 'red cat, 4k photo' })
 * const { images } = await pipe.generate({ imageEmbeds, negativeImageEmbeds, height: 768, width: 768, numInferenceSteps: 50 })
 * ```
 */
export class KandinskyV22Pipeline extends KandinskyV22Decoder<KandinskyTextOptions> {
  protected override readonly schema: z.ZodObject = kandinskySchemas.text
  protected override readonly start: LatentsStart<KandinskyTextOptions> = startFromNoise
}

/** Image to image with image embeddings. Source: diffusers `KandinskyV22Img2ImgPipeline`. */
export class KandinskyV22Img2ImgPipeline extends KandinskyV22Decoder<KandinskyImageOptions> {
  protected override readonly schema: z.ZodObject = kandinskySchemas.image
  protected override readonly start: LatentsStart<KandinskyImageOptions> = startFromImage
}

/** Repaints the white part of a mask, with image embeddings and a UNet of 9 input channels. Source: diffusers `KandinskyV22InpaintPipeline`. */
export class KandinskyV22InpaintPipeline extends KandinskyV22Decoder<KandinskyInpaintOptions> {
  protected override readonly schema: z.ZodObject = kandinskySchemas.inpaint
  protected override readonly start: LatentsStart<KandinskyInpaintOptions> = startFromMask
}

/** Pictures of image embeddings that follow another picture, such as a depth map. Source: diffusers `KandinskyV22ControlnetPipeline`. */
export class KandinskyV22ControlnetPipeline extends KandinskyV22Decoder<KandinskyHintOptions> {
  protected override readonly schema: z.ZodObject = kandinskySchemas.hint
  protected override readonly start: LatentsStart<KandinskyHintOptions> = withHint(startFromNoise)
}

/** The same, from a picture and noise. Source: diffusers `KandinskyV22ControlnetImg2ImgPipeline`. */
export class KandinskyV22ControlnetImg2ImgPipeline extends KandinskyV22Decoder<KandinskyHintImageOptions> {
  protected override readonly schema: z.ZodObject = kandinskySchemas.hintImage
  protected override readonly start: LatentsStart<KandinskyHintImageOptions> = withHint(startFromImage)
}
