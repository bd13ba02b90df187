import { checkInteger, checkNumber, checkOneOf, checkOptions } from '../checks.ts'
import { expected, InvalidArgumentError } from '../errors.ts'
import { Tensor } from '../tensor.ts'
import { gaussianBlur } from './blur.ts'
import { Image } from './image.ts'
import { type ImageInput, loadImage } from './load-image.ts'
import { cropRegion, overlay } from './mask.ts'
import { type Box, blank, crop, type Pixels, paste, rgbaToRgb, toGrey } from './pixels.ts'
import { type ResampleFilter, resampleFilters, resize } from './resample.ts'
import { resizeTensor } from './resize-tensor.ts'
import { eachRow } from './slices.ts'
import { toImages } from './to-images.ts'

/**
 * What happens to the aspect ratio: `default` stretches, `fill` fits the picture inside and continues its edges, `crop` fills the size and cuts off
 * what is too much.
 */
export type ResizeMode = 'default' | 'fill' | 'crop'

/** Settings of a {@link VaeImageProcessor}; names and defaults are diffusers'. */
export type VaeImageProcessorConfig = {
  /** Bring pictures to the wanted size, or to multiples of `vaeScaleFactor`. @default true */
  doResize?: boolean
  /** Sizes become multiples of this. @default 8 */
  vaeScaleFactor?: number
  /** A tensor with this many channels is taken for latents and comes back unchanged. @default 4 */
  vaeLatentChannels?: number
  /** @default 'lanczos' */
  resample?: ResampleFilter
  /** Map 0..1 to -1..1. @default true */
  doNormalize?: boolean
  /** Make 0 of what is below 0.5 and 1 of the rest. @default false */
  doBinarize?: boolean
  /** One grey channel instead of three. @default false */
  doConvertGrayscale?: boolean
}

/** Options of {@link VaeImageProcessor.preprocess}. */
export type PreprocessOptions = {
  /** Pixels; made a multiple of `vaeScaleFactor`. @default the height of the first picture */
  height?: number
  /** Pixels; made a multiple of `vaeScaleFactor`. @default the width of the first picture */
  width?: number
  /** @default 'default' */
  resizeMode?: ResizeMode
  /** Cut out this box first (left, top, right, bottom). @default the whole picture */
  cropCoords?: Box
  /** Name of the argument in error messages. @default 'image' */
  name?: string
}

const resizeModes: readonly ResizeMode[] = ['default', 'fill', 'crop']
const { fround } = Math

/** The way between pictures and the tensors of a VAE. Same results as diffusers' class of this name (image_processor.py). */
export class VaeImageProcessor {
  /** The settings, defaults filled in. */
  readonly config: Readonly<Required<VaeImageProcessorConfig>>

  constructor(config: VaeImageProcessorConfig = {}) {
    const defaults = { doResize: true, vaeScaleFactor: 8, vaeLatentChannels: 4, resample: 'lanczos', doNormalize: true } as const
    this.config = Object.freeze({ ...defaults, doBinarize: false, doConvertGrayscale: false, ...checkOptions('config', config) })
    checkInteger('vaeScaleFactor', this.config.vaeScaleFactor, { min: 1, max: 4096 })
    checkOneOf('resample', this.config.resample, resampleFilters)
  }

  /**
   * Pictures or tensors (values 0..1) to one tensor (B, C, H, W), f32: -1..1 if `doNormalize`, C = 1 if `doConvertGrayscale`, else 3.
   *
   * Alpha is dropped. Tensors are resized by the nearest pixel; those with a negative value count as normalised already, those with
   * `vaeLatentChannels` channels as latents. Throws `InvalidArgumentError` for what is not a picture.
   */
  async preprocess(images: ImageInput | Tensor | readonly (ImageInput | Tensor)[], options: PreprocessOptions = {}): Promise<Tensor> {
    const { name = 'image', resizeMode = 'default', cropCoords, ...wanted } = checkOptions('options', options)
    checkOneOf('resizeMode', resizeMode, resizeModes)
    const list = Array.isArray(images) ? (images as readonly (ImageInput | Tensor)[]) : [images as ImageInput | Tensor]
    if (list.length === 0) {
      throw expected('at least one image', name, images)
    }
    if (list.every((item): item is Tensor => item instanceof Tensor)) {
      return this.#fromTensors(list, wanted, name)
    }
    const pictures: Pixels[] = []
    for (const item of list) {
      if (item instanceof Tensor) {
        throw expected('pictures only or tensors only', name, images)
      }
      const pixels = await rgbaToRgb(await loadImage(item, { name }))
      pictures.push(cropCoords === undefined ? pixels : crop(pixels, cropCoords))
    }
    const size = this.#size(pictures[0] as Pixels, wanted)
    const resized = this.config.doResize ? await Promise.all(pictures.map((picture) => this.#resize(picture, size, resizeMode))) : pictures
    return this.#toTensor(
      resized.map((picture) => (this.config.doConvertGrayscale ? toGrey(picture) : picture)),
      name,
    )
  }

  /** As {@link preprocess}, for masks: grey, 0 or 1, not normalised; white (1) is the part to repaint. */
  preprocessMask(masks: ImageInput | Tensor | readonly (ImageInput | Tensor)[], options: PreprocessOptions = {}): Promise<Tensor> {
    const config = { ...this.config, doNormalize: false, doBinarize: true, doConvertGrayscale: true }
    return new VaeImageProcessor(config).preprocess(masks, { name: 'maskImage', ...options })
  }

  /** A tensor (B, 3, H, W) to pictures, mapped from -1..1 if `doNormalize`. */
  postprocess(tensor: Tensor): Promise<Image[]> {
    return toImages(tensor, { denormalize: this.config.doNormalize })
  }

  /**
   * The box around the masked (not black) part, widened by `pad` pixels and to the aspect ratio of `width` x `height`.
   *
   * Throws `InvalidArgumentError` if the mask is all black.
   */
  async getCropRegion(mask: ImageInput, width: number, height: number, pad = 0): Promise<Box> {
    checkInteger('width', width, { min: 1 })
    checkInteger('height', height, { min: 1 })
    checkInteger('pad', pad, { min: 0 })
    return cropRegion(toGrey(await rgbaToRgb(await loadImage(mask, { name: 'mask' }))), width, height, pad)
  }

  /** Softens a mask by a Gaussian of `radius` pixels. */
  async blur(mask: ImageInput, radius = 4): Promise<Image> {
    checkNumber('radius', radius, { min: 0, max: 1000 })
    const pixels = await gaussianBlur(await rgbaToRgb(await loadImage(mask, { name: 'mask' })), radius)
    return new Image(pixels)
  }

  /**
   * Pastes an inpainted picture back: where the mask is black the original stays, where it is white the new picture shows.
   *
   * With `cropCoords` the new picture covers that box of the original only. Throws `InvalidArgumentError` if sizes do not fit.
   */
  async applyOverlay(mask: ImageInput, original: ImageInput, image: Image, cropCoords?: Box): Promise<Image> {
    const below = await rgbaToRgb(await loadImage(original, { name: 'original' }))
    const grey = toGrey(await rgbaToRgb(await loadImage(mask, { name: 'mask' })))
    const placed = cropCoords === undefined ? image.pixels() : await this.#place(image.pixels(), below, cropCoords)
    for (const [name, { width, height }] of Object.entries({ mask: grey, image: placed })) {
      if (width !== below.width || height !== below.height) {
        throw new InvalidArgumentError(
          `Expected ${below.width} x ${below.height} pixels, as the original has, for ${name} but received ${width} x ${height}`,
        )
      }
    }
    const { seed, parameters } = image
    const made = { ...(seed === undefined ? {} : { seed }), ...(parameters === undefined ? {} : { parameters }) }
    return new Image({ ...(await overlay(grey, below, placed)), ...made })
  }

  async #place(image: Pixels, original: Pixels, [left, top, right, bottom]: Box): Promise<Pixels> {
    const base = blank(original.width, original.height, 3)
    paste(base, await this.#resize(image, [right - left, bottom - top], 'crop'), left, top)
    return base
  }

  #size(
    { width, height }: { width: number; height: number },
    wanted: { width?: number; height?: number },
  ): [width: number, height: number] {
    const factor = this.config.vaeScaleFactor
    const size = [wanted.width ?? width, wanted.height ?? height].map((value, i) => {
      const name = i === 0 ? 'width' : 'height'
      checkInteger(name, value, { min: factor, max: 65536 })
      return value - (value % factor)
    })
    return [size[0] ?? factor, size[1] ?? factor]
  }

  async #resize(image: Pixels, [width, height]: readonly [number, number], mode: ResizeMode): Promise<Pixels> {
    if (mode === 'default') {
      return resize(image, width, height, this.config.resample)
    }
    const [across, down] = [width * image.height, image.width * height] // the place is wider than the picture if across > down
    const byWidth = mode === 'fill' ? across < down : across > down
    const inner = byWidth ? [width, Math.floor((image.height * width) / image.width)] : [Math.floor(down / image.height), height]
    const [innerWidth = 1, innerHeight = 1] = inner.map((value) => Math.max(1, value))
    const resized = await resize(image, innerWidth, innerHeight, this.config.resample)
    const out = blank(width, height, image.channels)
    const x = Math.floor(width / 2) - Math.floor(resized.width / 2)
    const y = Math.floor(height / 2) - Math.floor(resized.height / 2)
    paste(out, resized, x, y)
    if (mode === 'fill') {
      await continueEdges(out, resized, x, y)
    }
    return out
  }

  async #toTensor(pictures: readonly Pixels[], name: string): Promise<Tensor> {
    const [first] = pictures
    if (first === undefined || pictures.some(({ width, height }) => width !== first.width || height !== first.height)) {
      throw expected(
        'pictures of one size',
        name,
        pictures.map(({ width, height }) => `${width}x${height}`),
      )
    }
    const { width, height, channels } = first
    const plane = width * height
    const values = new Float32Array(pictures.length * channels * plane)
    const table = Float32Array.from({ length: 256 }, (_, value) => this.#value(fround(value / 255)))
    await eachRow(pictures.length * channels * height, (row) => {
      const channel = Math.trunc(row / height) % channels
      const { data } = pictures[Math.trunc(row / height / channels)] as Pixels
      const from = (row % height) * width
      for (let x = 0; x < width; x += 1) {
        values[row * width + x] = table[data[(from + x) * channels + channel] ?? 0] ?? 0
      }
    })
    return Tensor.from(values, [pictures.length, channels, height, width])
  }

  #value(value: number): number {
    const { doNormalize, doBinarize } = this.config
    const mapped = doNormalize ? fround(2 * value - 1) : value
    return doBinarize ? (mapped < 0.5 ? 0 : 1) : mapped
  }

  #fromTensors(tensors: readonly Tensor[], wanted: { width?: number; height?: number }, name: string): Tensor {
    const rank = tensors[0]?.shape.length
    if ((rank !== 3 && rank !== 4) || tensors.some(({ shape }) => shape.length !== rank)) {
      throw expected('tensors of shape (C, H, W) or (B, C, H, W)', name, tensors)
    }
    const grey = rank === 3 && this.config.doConvertGrayscale
    const batch = rank === 4 ? Tensor.cat(tensors) : grey ? Tensor.cat(tensors.map((tensor) => tensor.unsqueeze(1))) : Tensor.stack(tensors)
    const [, channels, height, width] = batch.shape as [number, number, number, number]
    if (channels === this.config.vaeLatentChannels) {
      return batch
    }
    const size = this.#size({ width, height }, wanted)
    const resized = this.config.doResize ? resizeTensor(batch, size[0], size[1]) : batch
    const normalize = this.config.doNormalize && resized.min().item() >= 0
    const mapped = normalize ? resized.mul(2).sub(1) : resized
    if (!this.config.doBinarize) {
      return mapped
    }
    const values = (mapped.to('f32').toArray() as Float32Array).map((value) => (value < 0.5 ? 0 : 1))
    return Tensor.from(values, [...mapped.shape])
  }
}

/** Continues the first and last row (or column) of a picture that was pasted at (x, y) into the empty space beside it. */
async function continueEdges(out: Pixels, picture: Pixels, x: number, y: number): Promise<void> {
  if (picture.width === out.width && y > 0) {
    paste(out, await resize(picture, out.width, y, 'bicubic', [0, 0, out.width, 0]), 0, 0)
    paste(out, await resize(picture, out.width, y, 'bicubic', [0, picture.height, out.width, picture.height]), 0, y + picture.height)
  } else if (picture.height === out.height && x > 0) {
    paste(out, await resize(picture, x, out.height, 'bicubic', [0, 0, 0, out.height]), 0, 0)
    paste(out, await resize(picture, x, out.height, 'bicubic', [picture.width, 0, picture.width, out.height]), x + picture.width, 0)
  }
}
