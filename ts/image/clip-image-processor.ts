import { checkInteger, checkOptions } from '../checks.ts'
import { ConfigError, expected } from '../errors.ts'
import { type LoadOptions, planLoad, readConfig } from '../models/load.ts'
import { Tensor } from '../tensor.ts'
import { intoFolder, writeJson } from '../weights/save.ts'
import { type ImageInput, loadImage } from './load-image.ts'
import { crop, type Pixels, rgbaToRgb } from './pixels.ts'
import { resize } from './resample.ts'

/** Settings of a {@link CLIPImageProcessor}, as in `preprocessor_config.json`. */
export type CLIPImageProcessorConfig = {
  /** The shorter side becomes this many pixels. @default 224 */
  size?: number
  /** The middle square of this many pixels is kept. @default `size` */
  cropSize?: number
  /** Subtracted from each channel (values 0..1). @default OpenAI CLIP's */
  imageMean?: readonly [number, number, number]
  /** Each channel is divided by this. @default OpenAI CLIP's */
  imageStd?: readonly [number, number, number]
}

const { fround } = Math

const FILE = 'preprocessor_config.json'

/** OpenAI CLIP's statistics of its training pictures. Source: transformers image_utils.py `OPENAI_CLIP_MEAN`, `OPENAI_CLIP_STD`. */
const clipMean = [0.48145466, 0.4578275, 0.40821073] as const
const clipStd = [0.26862954, 0.26130258, 0.27577711] as const

/** Pictures to what CLIP's image encoder takes: shorter side by bicubic, middle square, normalised. Source: transformers `CLIPImageProcessor`. */
export class CLIPImageProcessor {
  /** The settings, defaults filled in. */
  readonly config: Readonly<Required<CLIPImageProcessorConfig>>

  constructor(config: CLIPImageProcessorConfig = {}) {
    const { size = 224, cropSize = size, imageMean = clipMean, imageStd = clipStd } = checkOptions('config', config)
    checkInteger('size', size, { min: 1, max: 8192 })
    checkInteger('cropSize', cropSize, { min: 1, max: 8192 })
    this.config = Object.freeze({ size, cropSize, imageMean, imageStd })
  }

  /** Reads `preprocessor_config.json` of a folder. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<CLIPImageProcessor> {
    const { source } = await planLoad(dir, options, 'image_processor')
    const { size, crop_size: cropSize, image_mean, image_std } = await readConfig(source, FILE)
    return new CLIPImageProcessor({
      size: edge(size),
      cropSize: edge(cropSize),
      imageMean: (image_mean ?? undefined) as CLIPImageProcessorConfig['imageMean'],
      imageStd: (image_std ?? undefined) as CLIPImageProcessorConfig['imageStd'],
    })
  }

  /** Writes `preprocessor_config.json` into a folder, as transformers reads it. */
  async savePretrained(dir: string): Promise<void> {
    const { size, cropSize: side, imageMean, imageStd } = this.config
    const steps = { do_center_crop: true, do_convert_rgb: true, do_normalize: true, do_rescale: true, do_resize: true }
    const numbers = { image_mean: imageMean, image_std: imageStd, resample: 3, rescale_factor: 1 / 255 }
    const sizes = { size: { shortest_edge: size }, crop_size: { height: side, width: side } }
    await intoFolder(dir, (folder) =>
      writeJson(folder, FILE, { image_processor_type: 'CLIPImageProcessor', ...steps, ...numbers, ...sizes }),
    )
  }

  /** One or more pictures to a tensor (B, 3, cropSize, cropSize), f32. Throws `InvalidArgumentError` for what is not a picture. */
  async preprocess(images: ImageInput | readonly ImageInput[]): Promise<Tensor> {
    const list = Array.isArray(images) ? (images as readonly ImageInput[]) : [images as ImageInput]
    if (list.length === 0) {
      throw expected('at least one image', 'images', images)
    }
    const { cropSize } = this.config
    const values = new Float32Array(list.length * 3 * cropSize * cropSize)
    for (const [i, image] of list.entries()) {
      this.#write(await this.#square(await rgbaToRgb(await loadImage(image))), values, i * 3 * cropSize * cropSize)
    }
    return Tensor.from(values, [list.length, 3, cropSize, cropSize])
  }

  async #square(picture: Pixels): Promise<Pixels> {
    const { size, cropSize } = this.config
    const longer = Math.trunc((size * Math.max(picture.width, picture.height)) / Math.min(picture.width, picture.height))
    const [width, height] = picture.width <= picture.height ? [size, longer] : [longer, size]
    const resized = await resize(picture, width, height, 'bicubic')
    const left = Math.floor((width - cropSize) / 2)
    const top = Math.floor((height - cropSize) / 2)
    return crop(resized, [left, top, left + cropSize, top + cropSize])
  }

  #write({ data }: Pixels, values: Float32Array, start: number): void {
    const plane = data.length / 3
    for (let channel = 0; channel < 3; channel += 1) {
      const mean = fround(this.config.imageMean[channel] ?? 0)
      const std = fround(this.config.imageStd[channel] ?? 1)
      for (let at = 0; at < plane; at += 1) {
        values[start + channel * plane + at] = fround(fround(fround((data[at * 3 + channel] ?? 0) / 255) - mean) / std)
      }
    }
  }
}

/** A size of the config: a number, or an object that names the shorter edge or height and width; undefined where there is none. */
function edge(size: unknown): number | undefined {
  if (typeof size !== 'object' || size === null) {
    return typeof size === 'number' ? size : undefined
  }
  const { shortest_edge: shortest, height, width } = size as Readonly<Record<string, unknown>>
  const value = shortest ?? (height === width ? height : undefined)
  if (typeof value !== 'number') {
    throw new ConfigError(`Expected one size for both sides in ${FILE} but received ${JSON.stringify(size)}`)
  }
  return value
}
