import { ConfigError, expected } from '../errors.ts'
import type { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import { blank, type Pixels } from '../image/pixels.ts'
import { type ResampleFilter, resize } from '../image/resample.ts'
import { eachRow } from '../image/slices.ts'
import { type LoadOptions, planLoad, readConfig } from '../models/load.ts'
import { Tensor } from '../tensor.ts'
import { applyTaps, cubicTaps } from './cubic.ts'
import type { Detector } from './detector.ts'
import { DPTForDepthEstimation } from './dpt-for-depth-estimation.ts'
import { extremes, type Plane } from './gaussian.ts'
import { greyImage, type PreprocessorOptions, readRgb } from './input.ts'

/** What of `preprocessor_config.json` (transformers `DPTImageProcessor`) matters. */
type Settings = { width: number; height: number; filter: ResampleFilter; keep: boolean; multiple: number; mean: number[]; std: number[] }

/** Pillow's numbers of its filters. */
const FILTERS: readonly ResampleFilter[] = ['nearest', 'lanczos', 'bilinear', 'bicubic', 'box', 'hamming']

/** Makes depth maps with a DPT network: near is white. */
export class DepthDetector implements Detector, AsyncDisposable {
  readonly kind = 'depth'
  /** The network. */
  readonly model: DPTForDepthEstimation
  readonly #settings: Settings

  /** `preprocessor` is the content of `preprocessor_config.json`; keys that it lacks take the values of Intel/dpt-large. */
  constructor(model: DPTForDepthEstimation, preprocessor: Record<string, unknown> = {}) {
    if (!(model instanceof DPTForDepthEstimation)) {
      throw expected('a DPTForDepthEstimation', 'model', model)
    }
    this.model = model
    this.#settings = settingsOf(preprocessor, model)
  }

  /** Loads the network and its `preprocessor_config.json` from a folder. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<DepthDetector> {
    const { source } = await planLoad(dir, options, 'depth')
    const preprocessor = await readConfig(source, 'preprocessor_config.json')
    return new DepthDetector(await DPTForDepthEstimation.fromPretrained(dir, options), preprocessor)
  }

  /** The depth map, from black (far) to white (near), at the size of the picture. */
  async detect(image: ImageInput, options?: PreprocessorOptions): Promise<Image> {
    const { width, height, data } = await this.depth(image, options)
    const [low, high] = extremes(data)
    const grey = blank(width, height, 1)
    await eachRow(height, (row) => {
      for (let i = row * width; i < (row + 1) * width; i += 1) {
        grey.data[i] = high > low ? Math.trunc((((data[i] ?? 0) - low) / (high - low)) * 255) : 0
      }
    })
    return greyImage(grey)
  }

  /** The network's depth at the size of the picture, by cubic interpolation. Source: transformers `post_process_depth_estimation`. */
  async depth(image: ImageInput, options?: PreprocessorOptions): Promise<Plane> {
    const pixels = await readRgb(image, options)
    using input = await this.preprocess(pixels)
    const { predictedDepth } = await this.model.forward(input, { signal: options?.signal })
    using depth = predictedDepth
    const [, height = 1, width = 1] = depth.shape
    const plane: Plane = { width, height, data: depth.toArray() as Float32Array }
    const resized = await applyTaps(plane, cubicTaps(width, pixels.width), cubicTaps(height, pixels.height))
    return { width: pixels.width, height: pixels.height, data: new Float32Array(resized) }
  }

  /** What the network gets: (1, 3, H, W), resized and normalised. */
  async preprocess(pixels: Pixels): Promise<Tensor> {
    const { filter, mean, std } = this.#settings
    const { width, height, data } = await resize(pixels, ...this.#size(pixels), filter)
    const plane = width * height
    const values = new Float32Array(3 * plane)
    await eachRow(3 * height, (row) => {
      const channel = Math.trunc(row / height)
      for (let i = row * width; i < (row + 1) * width; i += 1) {
        values[i] = ((data[(i - channel * plane) * 3 + channel] ?? 0) / 255 - (mean[channel] ?? 0.5)) / (std[channel] ?? 0.5)
      }
    })
    return Tensor.from(values, [1, 3, height, width])
  }

  /** Frees the network. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.model.dispose()
  }

  /** Source: transformers image_processing_dpt.py `get_resize_output_image_size`. */
  #size({ width, height }: Pixels): [width: number, height: number] {
    const { keep, multiple } = this.#settings
    let [across, down] = [this.#settings.width / width, this.#settings.height / height]
    if (keep) {
      across = down = Math.abs(1 - across) < Math.abs(1 - down) ? across : down
    }
    const whole = (value: number): number => Math.max(multiple, roundHalfEven(value / multiple) * multiple)
    return [whole(across * width), whole(down * height)]
  }
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

function settingsOf(config: Record<string, unknown>, { config: { image_size, patch_size } }: DPTForDepthEstimation): Settings {
  const { size, resample = 3, keep_aspect_ratio = false, ensure_multiple_of = 1, image_mean, image_std } = config
  const sides = typeof size === 'number' ? { width: size, height: size } : ((size ?? {}) as { width?: number; height?: number })
  const filter = FILTERS[Number(resample)]
  const multiple = Math.max(Number(ensure_multiple_of), keep_aspect_ratio ? patch_size : 1)
  const { width = image_size, height = image_size } = sides
  if (filter === undefined || ![width, height, multiple].every((value) => Number.isInteger(value) && value > 0)) {
    throw new ConfigError(
      `Expected sizes and a number from 0 to 5 for resample in preprocessor_config.json but received ${JSON.stringify({ size, resample, ensure_multiple_of })}`,
    )
  }
  const three = (value: unknown): number[] => (Array.isArray(value) ? value.map(Number) : [0.5, 0.5, 0.5])
  return { width, height, filter, keep: keep_aspect_ratio === true, multiple, mean: three(image_mean), std: three(image_std) }
}
