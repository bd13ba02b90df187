import { kandinskyDecoder } from './kandinsky-v22-decoder.ts'
import { kandinskyHint, kandinskyHintImage, kandinskyImage, kandinskyInpainting, kandinskyText } from './kandinsky-v22-tasks.ts'

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
export class KandinskyV22Pipeline extends kandinskyDecoder(kandinskyText) {}

/** Image to image with image embeddings. Source: diffusers `KandinskyV22Img2ImgPipeline`. */
export class KandinskyV22Img2ImgPipeline extends kandinskyDecoder(kandinskyImage) {}

/** Repaints the white part of a mask, with image embeddings and a UNet of 9 input channels. Source: diffusers `KandinskyV22InpaintPipeline`. */
export class KandinskyV22InpaintPipeline extends kandinskyDecoder(kandinskyInpainting) {}

/** Pictures of image embeddings that follow another picture, such as a depth map. Source: diffusers `KandinskyV22ControlnetPipeline`. */
export class KandinskyV22ControlnetPipeline extends kandinskyDecoder(kandinskyHint) {}

/** The same, from a picture and noise. Source: diffusers `KandinskyV22ControlnetImg2ImgPipeline`. */
export class KandinskyV22ControlnetImg2ImgPipeline extends kandinskyDecoder(kandinskyHintImage) {}
