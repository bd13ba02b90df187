import { expected } from '../errors.ts'
import { maskFromAlpha } from '../image/mask.ts'
import type { Box, RgbaImage } from '../image/pixels.ts'
import { resizeTensor } from '../image/resize-tensor.ts'
import { VaeImageProcessor } from '../image/vae-image-processor.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { InpaintOptions } from './generate-options.ts'
import { checkDivides, repeatBatch } from './latents.ts'
import { loadPictures, pixelSize } from './pictures.ts'

/** Picture and mask of an inpainting call, brought to the working size. */
export interface InpaintInputs {
  /** Pixels (N, 3, height, width) in [-1, 1], or latents. */
  pixels: Tensor
  /** 1 = repaint: (M, 1, height, width). */
  mask: Tensor
  /** Picture, mask and the part that was worked on, with `paddingMaskCrop`. */
  crop?: { original: RgbaImage; mask: RgbaImage; box: Box }
}

/**
 * Reads picture and mask and brings them to the working size; the tensors belong to `scope`.
 *
 * Without a mask, the transparent part of the picture is repainted. Throws `InvalidArgumentError` if there is no mask at all, or
 * if mask and picture have different sizes.
 */
export async function readInpaintInputs(
  { image, maskImage, paddingMaskCrop, outputType }: InpaintOptions,
  {
    height,
    width,
    factor,
    latentChannels,
    scope,
    signal,
  }: { height: number; width: number; factor: number; latentChannels: number; scope: Scope; signal: AbortSignal },
): Promise<InpaintInputs> {
  const pictures = await loadPictures(image, { name: 'image', signal })
  const masks = maskImage === undefined ? await masksFromAlpha(pictures) : await loadPictures(maskImage, { name: 'maskImage', signal })
  checkSizes(pictures, masks, latentChannels)
  const processor = new VaeImageProcessor({ vaeScaleFactor: factor, vaeLatentChannels: latentChannels })
  const crop = paddingMaskCrop === undefined ? undefined : single(pictures, masks, outputType)
  const box = crop && (await processor.getCropRegion(crop.mask, width, height, paddingMaskCrop))
  const how = { height, width, ...(box && { cropCoords: box, resizeMode: 'fill' as const }) }
  return {
    pixels: scope.keep(await processor.preprocess(pictures, how)),
    mask: scope.keep(await processor.preprocessMask(masks, how)),
    crop: crop && box && { ...crop, box },
  }
}

/** The mask at the size of the latents, one row per image: (images, 1, h, w). Source: diffusers `prepare_mask_latents`. */
export function maskLatents(mask: Tensor, { height, width }: { height: number; width: number }, images: number, scope: Scope): Tensor {
  checkDivides(mask, images, 'maskImage')
  const small = scope.keepNew(resizeTensor(mask, width, height), mask)
  return scope.keep(repeatBatch(small, images))
}

/** Pixels with the part to repaint set to 0 (grey). */
export function blankMasked(pixels: Tensor, mask: Tensor, scope: Scope): Tensor {
  const keep = scope.keep(scope.keep(mask.neg()).add(1))
  return scope.keep(pixels.mul(keep))
}

async function masksFromAlpha(pictures: Tensor | RgbaImage[]): Promise<RgbaImage[]> {
  if (pictures instanceof Tensor || !pictures.every((picture) => picture.hasAlpha)) {
    throw expected('an image, or transparency in the option image,', 'maskImage', undefined)
  }
  return Promise.all(pictures.map(async (picture) => (await maskFromAlpha(picture)).rgba()))
}

function checkSizes(pictures: Tensor | RgbaImage[], masks: Tensor | RgbaImage[], latentChannels: number): void {
  const picture = pixelSize(pictures, latentChannels)
  const mask = pixelSize(masks, latentChannels)
  if (picture !== undefined && mask !== undefined && (mask.width !== picture.width || mask.height !== picture.height)) {
    throw expected(
      `a mask of ${picture.width} x ${picture.height} pixels, as the image has,`,
      'maskImage',
      `${mask.width} x ${mask.height}`,
    )
  }
}

function single(
  pictures: Tensor | RgbaImage[],
  masks: Tensor | RgbaImage[],
  outputType: string | undefined,
): { original: RgbaImage; mask: RgbaImage } {
  const [original, mask] = [pictures instanceof Tensor ? undefined : pictures[0], masks instanceof Tensor ? undefined : masks[0]]
  if (original === undefined || mask === undefined || (pictures as RgbaImage[]).length > 1 || (masks as RgbaImage[]).length > 1) {
    throw expected('one picture (no Tensor) with paddingMaskCrop', 'image', pictures)
  }
  if (outputType !== undefined && outputType !== 'image') {
    throw expected("'image' with paddingMaskCrop", 'outputType', outputType)
  }
  return { original, mask }
}
