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
