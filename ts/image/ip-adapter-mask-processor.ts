import { checkInteger } from '../checks.ts'
import { expected } from '../errors.ts'
import { native } from '../native.ts'
import { handleOf, Tensor, wrapTensor } from '../tensor.ts'
import type { ImageInput } from './load-image.ts'
import { type PreprocessOptions, VaeImageProcessor } from './vae-image-processor.ts'

/** Masks that say where an image prompt counts. Source: diffusers `IPAdapterMaskProcessor`. */
export class IPAdapterMaskProcessor {
  readonly #processor = new VaeImageProcessor({ doNormalize: false, doBinarize: true, doConvertGrayscale: true })

  /** Grey pictures to a tensor (N, 1, height, width) of 0 and 1; sizes become multiples of 8. */
  preprocess(masks: ImageInput | Tensor | readonly (ImageInput | Tensor)[], options: PreprocessOptions = {}): Promise<Tensor> {
    return this.#processor.preprocess(masks, { name: 'masks', ...options })
  }

  /** What an attention layer of `queries` tokens gets of a mask (1, N, H, W): the mask of image `index`, (1, queries, 1). */
  static downsample(mask: Tensor, index: number, queries: number): Tensor {
    const images = mask instanceof Tensor && mask.shape.length === 4 ? (mask.shape[1] ?? 0) : 0
    if (images === 0) {
      throw expected('a Tensor of shape (1, images, height, width)', 'mask', mask)
    }
    checkInteger('index', index, { min: 0, max: images - 1 })
    checkInteger('queries', queries, { min: 1, max: 1 << 24 })
    return wrapTensor(native.downsampleIpAdapterMask(handleOf(mask, 'mask'), index, queries))
  }
}
