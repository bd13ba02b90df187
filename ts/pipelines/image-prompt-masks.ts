import { expected } from '../errors.ts'
import { IPAdapterMaskProcessor } from '../image/ip-adapter-mask-processor.ts'
import type { ImageInput } from '../image/load-image.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { ConditionCall } from './condition.ts'
import type { PipelineImageInput } from './generate-options.ts'

/** Masks of a call's image prompts: (1, images, height, width), 1 where an image counts. Throws unless there is one for each image. */
export async function imagePromptMasks(
  masks: PipelineImageInput,
  images: number,
  { height, width }: ConditionCall,
  scope: Scope,
): Promise<Tensor> {
  const read = async (): Promise<Tensor> => {
    const stack = scope.keep(await new IPAdapterMaskProcessor().preprocess(masks as ImageInput | readonly ImageInput[], { height, width }))
    return scope.keep(stack.transpose(0, 1))
  }
  const mask = masks instanceof Tensor ? masks : await read()
  if (mask.shape.length !== 4 || mask.shape[0] !== 1 || mask.shape[1] !== images) {
    throw expected(`${images === 1 ? 'one mask' : `${images} masks, one for each image`}`, 'masks', masks)
  }
  return mask
}
