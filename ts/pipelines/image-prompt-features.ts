import { expected, InvalidArgumentError } from '../errors.ts'
import { CLIPImageProcessor } from '../image/clip-image-processor.ts'
import type { ImageInput } from '../image/load-image.ts'
import { CLIPVisionModelWithProjection } from '../models/clip-vision-model.ts'
import type { IPAdapter } from '../models/ip-adapter.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { PipelineImageInput } from './generate-options.ts'

interface Encoding {
  imageEncoder?: CLIPVisionModelWithProjection | null
  signal?: AbortSignal
  scope: Scope
}

/**
 * What an adapter reads of N images: embeddings (1, N, D), of Plus and full-face adapters the hidden states before the last layer (1, N, S, D).
 *
 * A Tensor holds pixels that a `CLIPImageProcessor` made. Source: diffusers `StableDiffusionPipeline.encode_image`.
 */
export async function encodeImagePrompt(
  adapter: IPAdapter,
  image: PipelineImageInput,
  { name, scope, ...encoding }: Encoding & { name: string },
): Promise<Tensor> {
  const encoder = checkEncoder(adapter, encoding.imageEncoder)
  const processor = new CLIPImageProcessor({ size: encoder.config.image_size })
  const pixels = image instanceof Tensor ? image : scope.keep(await processor.preprocess(image as ImageInput | readonly ImageInput[]))
  if (pixels.shape.length !== 4) {
    throw expected('images, or a Tensor of shape (images, 3, size, size)', name, image)
  }
  const features = await encode(adapter, encoder, pixels, encoding.signal)
  return scope.keep(scope.keep(features).unsqueeze(0))
}

/** What an adapter reads where there is no image: zeros; for hidden states those of a black picture. */
export async function zeroFeatures(adapter: IPAdapter, like: Tensor, { imageEncoder, signal, scope }: Encoding): Promise<Tensor> {
  if (like.shape.length === 3 || !imageEncoder) {
    return scope.keep(like.mul(0))
  }
  const encoder = checkEncoder(adapter, imageEncoder)
  const { num_channels: channels, image_size: size } = encoder.config
  const features = scope.keep(await encode(adapter, encoder, scope.keep(Tensor.zeros([1, channels, size, size])), signal))
  const [batch = 1, images = 1] = like.shape
  return scope.keep(scope.keep(features.unsqueeze(0)).repeat([batch, images, 1, 1]))
}

async function encode(
  adapter: IPAdapter,
  encoder: CLIPVisionModelWithProjection,
  pixels: Tensor,
  signal: AbortSignal | undefined,
): Promise<Tensor> {
  using scope = new Scope()
  const plain = adapter.config.kind === 'plain'
  const output = await encoder.forward(pixels, { outputHiddenStates: !plain, signal })
  const all = [output.lastHiddenState, output.poolerOutput, output.imageEmbeds, ...(output.hiddenStates ?? [])]
  for (const tensor of all) {
    scope.keep(tensor)
  }
  const wanted = plain ? output.imageEmbeds : (output.hiddenStates?.at(-2) ?? output.lastHiddenState)
  return wanted.clone()
}

function checkEncoder(adapter: IPAdapter, encoder: CLIPVisionModelWithProjection | null | undefined): CLIPVisionModelWithProjection {
  if (!(encoder instanceof CLIPVisionModelWithProjection)) {
    throw expected('a CLIPVisionModelWithProjection beside images', 'imageEncoder', encoder)
  }
  const { kind, image_width: wanted } = adapter.config
  const width = kind === 'plain' ? encoder.config.projection_dim : encoder.config.hidden_size
  if (width !== wanted) {
    throw new InvalidArgumentError(
      `Expected features of width ${wanted}, as the IP-Adapter reads, from the image encoder but received ${width}`,
    )
  }
  return encoder
}
