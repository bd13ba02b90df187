export {
  AbortError,
  ConfigError,
  DeviceError,
  DiffusionError,
  DisposedError,
  HubError,
  InvalidArgumentError,
  NativeLoadError,
  OutOfMemoryError,
  WeightsError,
} from './errors.ts'
export { CLIPImageProcessor, type CLIPImageProcessorConfig } from './image/clip-image-processor.ts'
export { Image, type ImageInit, type SaveOptions } from './image/image.ts'
export { type ImageGridOptions, type ImageStripOptions, imageGrid, imageStrip } from './image/image-grid.ts'
export { type ImageInput, type LoadImageOptions, loadImage, type RawImage } from './image/load-image.ts'
export { maskFromAlpha } from './image/mask.ts'
export { embedMetadata, type ImageMetadata } from './image/metadata/embed.ts'
export { formatParameters, type GenerationParameters } from './image/metadata/parameters.ts'
export { parseParameters, readMetadata } from './image/metadata/read.ts'
export type { Box, RgbaImage } from './image/pixels.ts'
export { type LatentRgbFactors, latentRgbFactors, latentsToRgb } from './image/preview.ts'
export type { ResampleFilter } from './image/resample.ts'
export { type ToImagesOptions, toImages } from './image/to-images.ts'
export { type PreprocessOptions, type ResizeMode, VaeImageProcessor, type VaeImageProcessorConfig } from './image/vae-image-processor.ts'
export { AutoencoderKL, type AutoencoderKLConfig, type TilingOptions } from './models/autoencoder-kl.ts'
export {
  type CLIPForwardOptions,
  type CLIPTextConfig,
  CLIPTextModel,
  type CLIPTextModelOutput,
  CLIPTextModelWithProjection,
  type CLIPTextModelWithProjectionOutput,
} from './models/clip-text-model.ts'
export { CLIPTokenizer, type EncodeOptions, type Padding, type TokenizerOutput } from './models/clip-tokenizer.ts'
export { DiagonalGaussianDistribution } from './models/diagonal-gaussian-distribution.ts'
export type { LoadOptions, LoadProgress } from './models/load.ts'
export { Model, type WeightsDType } from './models/model.ts'
export {
  type FreeUOptions,
  type UNet2DConditionConfig,
  UNet2DConditionModel,
  type UNetForwardOptions,
} from './models/unet-2d-condition-model.ts'
export { Generator, type RandomDType, type RngKind, randnTensor } from './random.ts'
export { Tensor } from './tensor.ts'
export type { Device, DType, NestedNumbers, TensorArray, TypedArray } from './tensor-data.ts'
