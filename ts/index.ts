export { Adaptable, type LoadLoraOptions } from './adapters/adaptable.ts'
export type { CallAdapters } from './adapters/adapter-state.ts'
export type { AdapterWeight, BlockWeights, UNetWeights } from './adapters/adapter-weight.ts'
export type { AdapterComponentName } from './adapters/loaded-adapter.ts'
export { LoraAdapter, type LoraFileOptions, type WeightedAdapter } from './adapters/lora-adapter.ts'
export type { LoraAlgorithm, LoraReport } from './adapters/lora-report.ts'
export { type LoraPlace, resolveLora } from './adapters/resolve-lora.ts'
export { type Inversion, type InversionOptions, type InversionSource, readInversion } from './adapters/textual-inversion.ts'
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
export { CFGPlusPlusGuidance } from './guidance/cfg-plus-plus.ts'
export {
  ClassifierFreeGuidance,
  type ClassifierFreeGuidanceOptions,
  type Guidance,
  type GuidanceRow,
  type GuidanceStep,
  type PartWeight,
} from './guidance/guidance.ts'
export { ImageTextGuidance, type ImageTextGuidanceOptions } from './guidance/image-guidance.ts'
export { LearnedVarianceGuidance } from './guidance/learned-variance.ts'
export {
  PerturbedAttentionGuidance,
  type PerturbedAttentionGuidanceOptions,
} from './guidance/perturbed-attention.ts'
export type { GuidanceInterval, GuidanceScale, ScaleStep } from './guidance/schedule.ts'
export { sequential } from './guidance/sequential.ts'
export type { HubOptions } from './hub/settings.ts'
export { CLIPImageProcessor, type CLIPImageProcessorConfig } from './image/clip-image-processor.ts'
export { Image, type ImageInit, type SaveOptions } from './image/image.ts'
export { type ImageGridOptions, type ImageStripOptions, imageGrid, imageStrip } from './image/image-grid.ts'
export { IPAdapterMaskProcessor } from './image/ip-adapter-mask-processor.ts'
export { type ImageInput, type LoadImageOptions, loadImage, type RawImage } from './image/load-image.ts'
export { maskFromAlpha } from './image/mask.ts'
export type { AdapterRecords, ControlRecord, InversionRecord, LoraRecord } from './image/metadata/adapters.ts'
export { embedMetadata, type ImageMetadata } from './image/metadata/embed.ts'
export { formatParameters, type GenerationParameters } from './image/metadata/parameters.ts'
export { parseParameters, readMetadata } from './image/metadata/read.ts'
export type { Box, Pixels, RgbaImage } from './image/pixels.ts'
export { type LatentRgbFactors, latentRgbFactors, latentsToRgb } from './image/preview.ts'
export type { ResampleFilter } from './image/resample.ts'
export { type ToImagesOptions, toImages } from './image/to-images.ts'
export { type PreprocessOptions, type ResizeMode, VaeImageProcessor, type VaeImageProcessorConfig } from './image/vae-image-processor.ts'
export { AutoencoderKL, type AutoencoderKLConfig, type DecodeOptions, type TilingOptions } from './models/autoencoder-kl.ts'
export { AutoencoderTiny, type AutoencoderTinyConfig } from './models/autoencoder-tiny.ts'
export {
  type CLIPForwardOptions,
  type CLIPTextConfig,
  CLIPTextModel,
  type CLIPTextModelOutput,
  CLIPTextModelWithProjection,
  type CLIPTextModelWithProjectionOutput,
} from './models/clip-text-model.ts'
export { CLIPTokenizer, type EncodeOptions, type Padding, type TokenizerOutput } from './models/clip-tokenizer.ts'
export {
  type CLIPVisionConfig,
  type CLIPVisionForwardOptions,
  CLIPVisionModel,
  type CLIPVisionModelOutput,
  CLIPVisionModelWithProjection,
  type CLIPVisionModelWithProjectionOutput,
} from './models/clip-vision-model.ts'
export {
  type ControlNetConfig,
  type ControlNetForwardOptions,
  ControlNetModel,
  type ControlNetOutput,
  type ControlOptions,
} from './models/controlnet.ts'
export { type ControlNetUnionConfig, type ControlNetUnionForwardOptions, ControlNetUnionModel } from './models/controlnet-union.ts'
export { DiagonalGaussianDistribution } from './models/diagonal-gaussian-distribution.ts'
export { IPAdapter, type IPAdapterConfig, type IPAdapterLoadOptions } from './models/ip-adapter.ts'
export type { FromConfigOptions, FromWeightsOptions, LoadOptions, LoadProgress } from './models/load.ts'
export type { MemoryNeed } from './models/memory-need.ts'
export { Model, type WeightsDType } from './models/model.ts'
export { type PriorForwardOptions, PriorTransformer, type PriorTransformerConfig } from './models/prior-transformer.ts'
export { type SafetyVerdict, StableDiffusionSafetyChecker } from './models/safety-checker.ts'
export { T2IAdapter, type T2IAdapterConfig } from './models/t2i-adapter.ts'
export {
  type FreeUOptions,
  type ImagePromptInput,
  type Perturbation,
  type UNet2DConditionConfig,
  UNet2DConditionModel,
  type UNetForwardOptions,
  type UNetImageOptions,
} from './models/unet-2d-condition-model.ts'
export { type VQDecodeOptions, VQModel, type VQModelConfig } from './models/vq-model.ts'
export {
  type AdapterOptions,
  type AdapterSettings,
  type AdapterXLOptions,
  adapterSchema,
  adapterXLSchema,
  type StableDiffusionAdapterComponents,
  StableDiffusionAdapterPipeline,
  type StableDiffusionXLAdapterComponents,
  StableDiffusionXLAdapterPipeline,
} from './pipelines/adapter.ts'
export { AnimateDiffPipeline } from './pipelines/animatediff.ts'
export type { AnimateDiffComponents } from './pipelines/animatediff-base.ts'
export type {
  AnimateDiffOptions,
  AnimateDiffVideoToVideoOptions,
  VideoOptions,
  VideoResults,
  VideosResult,
} from './pipelines/animatediff-options.ts'
export { animateDiffSchema, animateDiffVideoToVideoSchema } from './pipelines/animatediff-options.ts'
export { AnimateDiffVideoToVideoPipeline } from './pipelines/animatediff-video-to-video.ts'
export {
  type AnyComponents,
  type AutoPipeline,
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  AutoPipelineForText2Image,
  type TaskPipeline,
} from './pipelines/auto.ts'
export type { PromptOptions, PromptOptionsXL } from './pipelines/check-prompts.ts'
export { type Condition, type ConditionCall, type ConditionSpan, freeU } from './pipelines/condition.ts'
export type { ControlledImage, ControlledText, ControlSettings } from './pipelines/control-options.ts'
export {
  type ControlNetImageOptions,
  type ControlNetImageXLOptions,
  type ControlNetInpaintOptions,
  type ControlNetInpaintXLOptions,
  type ControlNetTextOptions,
  type ControlNetTextXLOptions,
  controlledImage,
  controlledInpainting,
  controlledText,
  controlNetImageSchema,
  controlNetImageXLSchema,
  controlNetInpaintSchema,
  controlNetInpaintXLSchema,
  controlNetTextSchema,
  controlNetTextXLSchema,
  type StableDiffusionControlNetComponents,
  StableDiffusionControlNetImg2ImgPipeline,
  StableDiffusionControlNetInpaintPipeline,
  StableDiffusionControlNetPipeline,
  type StableDiffusionXLControlNetComponents,
  StableDiffusionXLControlNetImg2ImgPipeline,
  StableDiffusionXLControlNetInpaintPipeline,
  StableDiffusionXLControlNetPipeline,
} from './pipelines/controlnet.ts'
export {
  type ControlNetOptions,
  type ControlNetUnionOptions,
  type ControlOptionsOfCall,
  controlNet,
  controlNetUnion,
} from './pipelines/controlnet-condition.ts'
export {
  type StableDiffusionControlNetPAGComponents,
  StableDiffusionControlNetPAGInpaintPipeline,
  StableDiffusionControlNetPAGPipeline,
  type StableDiffusionXLControlNetPAGComponents,
  StableDiffusionXLControlNetPAGImg2ImgPipeline,
  StableDiffusionXLControlNetPAGPipeline,
} from './pipelines/controlnet-pag.ts'
export {
  type ControlNetUnionImageOptions,
  type ControlNetUnionInpaintOptions,
  type ControlNetUnionTextOptions,
  controlNetUnionImageSchema,
  controlNetUnionInpaintSchema,
  controlNetUnionTextSchema,
  type StableDiffusionXLControlNetUnionComponents,
  StableDiffusionXLControlNetUnionImg2ImgPipeline,
  StableDiffusionXLControlNetUnionInpaintPipeline,
  StableDiffusionXLControlNetUnionPipeline,
} from './pipelines/controlnet-union.ts'
export { decodeLatents, type SafetyChecker } from './pipelines/decode.ts'
export { denoise } from './pipelines/denoise.ts'
export type { Denoised, DenoiseOptions, Denoiser, StepReport, StepState, UNetCondition, UNetStep } from './pipelines/denoise-options.ts'
export type { DenoisingRange } from './pipelines/denoising-range.ts'
export type { DecodeEvent, DoneEvent, EncodeEvent, ImageEvent, PipelineEvent, PreviewEvent, StepEvent } from './pipelines/events.ts'
export type {
  CommonOptions,
  ImageToImageOptions,
  InpaintOptions,
  LatentsOptions,
  PipelineImageInput,
  RunOptions,
  SizeOptions,
  StepCallback,
  TextToImageOptions,
} from './pipelines/generate-options.ts'
export type { ImageToImageXLOptions, InpaintXLOptions, TextToImageXLOptions } from './pipelines/generate-options-xl.ts'
export { type ImagePromptOptions, imagePrompt } from './pipelines/image-prompt.ts'
export type { BlockScales, ImagePromptScale } from './pipelines/image-prompt-scale.ts'
export { type InstructPix2PixOptions, instructPix2PixSchema, StableDiffusionInstructPix2PixPipeline } from './pipelines/instruct-pix2pix.ts'
export { Job, type JobContext } from './pipelines/job.ts'
export {
  KandinskyV22ControlnetImg2ImgPipeline,
  KandinskyV22ControlnetPipeline,
  KandinskyV22Img2ImgPipeline,
  KandinskyV22InpaintPipeline,
  KandinskyV22Pipeline,
} from './pipelines/kandinsky-v22.ts'
export type { KandinskyV22Components } from './pipelines/kandinsky-v22-base.ts'
export {
  type KandinskyV22CombinedComponents,
  KandinskyV22CombinedPipeline,
  KandinskyV22Img2ImgCombinedPipeline,
  KandinskyV22InpaintCombinedPipeline,
} from './pipelines/kandinsky-v22-combined.ts'
export type { ImageEmbeds } from './pipelines/kandinsky-v22-embeds.ts'
export {
  type KandinskyCombinedOptions,
  type KandinskyEmbeds,
  type KandinskyHint,
  type KandinskyHintImageOptions,
  type KandinskyHintOptions,
  type KandinskyImage,
  type KandinskyImageCombinedOptions,
  type KandinskyImageOptions,
  type KandinskyInpaintCombinedOptions,
  type KandinskyInpaintOptions,
  type KandinskyMask,
  type KandinskyOptions,
  type KandinskyPriorOptions,
  type KandinskyPrompts,
  type KandinskyTextOptions,
  kandinskyPriorSchema,
  kandinskySchemas,
} from './pipelines/kandinsky-v22-options.ts'
export {
  type InterpolateOptions,
  type KandinskyPriorResult,
  type KandinskyV22PriorComponents,
  KandinskyV22PriorPipeline,
} from './pipelines/kandinsky-v22-prior.ts'
export {
  type LatentConsistencyImageOptions,
  LatentConsistencyModelImg2ImgPipeline,
  LatentConsistencyModelPipeline,
  type LatentConsistencyOptions,
  type LatentConsistencyTextOptions,
  latentConsistencyImageSchema,
  latentConsistencyTextSchema,
} from './pipelines/latent-consistency.ts'
export {
  type LatentUpscaleOptions,
  latentUpscaleSchema,
  StableDiffusionLatentUpscalePipeline,
} from './pipelines/latent-upscale.ts'
export type { DownloadOptions, PipelineLoadOptions } from './pipelines/load.ts'
export type { IPAdapterSource, LoadIpAdapterOptions } from './pipelines/load-ip-adapters.ts'
export type { PipelineSingleFileOptions } from './pipelines/load-single-file.ts'
export type { EstimateOptions, MemoryEstimate } from './pipelines/memory.ts'
export { describeOptions, type OptionInfo, option } from './pipelines/option.ts'
export { imageToImageSchema, inpaintSchema, textToImageSchema } from './pipelines/options.ts'
export { imageToImageXLSchema, inpaintXLSchema, textToImageXLSchema } from './pipelines/options-xl.ts'
export {
  perturbed,
  type StableDiffusionPAGComponents,
  StableDiffusionPAGImg2ImgPipeline,
  StableDiffusionPAGInpaintPipeline,
  StableDiffusionPAGPipeline,
  type StableDiffusionXLPAGComponents,
  StableDiffusionXLPAGImg2ImgPipeline,
  StableDiffusionXLPAGInpaintPipeline,
  StableDiffusionXLPAGPipeline,
} from './pipelines/pag.ts'
export type {
  PerturbedImageOptions,
  PerturbedImageXLOptions,
  PerturbedInpaintOptions,
  PerturbedInpaintXLOptions,
  PerturbedSettings,
  PerturbedTextOptions,
  PerturbedTextXLOptions,
} from './pipelines/pag-options.ts'
export { parseOptions } from './pipelines/parse-options.ts'
export { DiffusionPipeline } from './pipelines/pipeline.ts'
export type { Autoencoder, BaseComponents, ComponentsOf, RunComponents } from './pipelines/pipeline-class.ts'
export type { Prepared } from './pipelines/prepared.ts'
export type { PromptInputs, PromptTrack, RunConditioning, TrackEntry } from './pipelines/prompt-inputs.ts'
export type { GenerateResult, ImagesResult, LatentsResult, ResultInfo, Results, TensorResult, Timings } from './pipelines/result.ts'
export type { NoiseOptions, Seed } from './pipelines/seeds.ts'
export type { Slot, Slots } from './pipelines/slot.ts'
export { StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline, StableDiffusionPipeline } from './pipelines/stable-diffusion.ts'
export { type PipelineEncodeOptions, type StableDiffusionComponents, stableDiffusion } from './pipelines/stable-diffusion-base.ts'
export {
  StableDiffusionXLImg2ImgPipeline,
  StableDiffusionXLInpaintPipeline,
  StableDiffusionXLPipeline,
} from './pipelines/stable-diffusion-xl.ts'
export { type StableDiffusionXLComponents, stableDiffusionXL } from './pipelines/stable-diffusion-xl-base.ts'
export { type T2IAdapterOptions, t2iAdapter } from './pipelines/t2i-adapter-condition.ts'
export type { Schema, Task, TaskClass, TaskHost } from './pipelines/task.ts'
export { imageToImage, inpainting, textToImage } from './pipelines/tasks.ts'
export type { AestheticScores, Pair, SizeConditioning } from './pipelines/time-ids.ts'
export type { UNetInputs } from './pipelines/unet-inputs.ts'
export { StableDiffusionUpscalePipeline, type UpscaleComponents, type UpscaleOptions, upscaleSchema } from './pipelines/upscale.ts'
export * from './preprocess/index.ts'
export { type SubPrompt, splitAnd } from './prompt/and.ts'
export { type AttentionGrammar, parseAttention, printAttention, type WeightedText } from './prompt/attention.ts'
export {
  type BuildPromptOptions,
  type BuiltPrompt,
  buildPrompt,
  type Keyword,
  type PromptKeywords,
  promptCategories,
} from './prompt/build-prompt.ts'
export { PromptCache } from './prompt/cache.ts'
export { type Chunk, type ChunkOptions, type WeightedTokens, webuiChunks } from './prompt/chunks.ts'
export type { CompelOptions } from './prompt/compel/embeddings.ts'
export { encodeCompel, padToSameLength } from './prompt/compel/encode.ts'
export { parseCompel } from './prompt/compel/parse.ts'
export type { SplitMode } from './prompt/compel/split.ts'
export type { Blend, Conjunction, FlatPrompt, Fragment, Swap } from './prompt/compel/syntax.ts'
export {
  type ConditionedText,
  Conditioning,
  type ConditioningInit,
  type ConditioningPart,
  type EmbeddedPrompts,
  type PromptConditioning,
} from './prompt/conditioning.ts'
export { type DescribedText, describePrompt, type PromptDescription } from './prompt/describe.ts'
export { type EncodePromptOptions, encodePrompt } from './prompt/encode-prompt.ts'
export type { PromptChunk, PromptToken, TextEncoding } from './prompt/encoding.ts'
export { type ChatMessage, type ExpandPromptOptions, expandPrompt, expansionMessages, parseExpansion } from './prompt/expand-prompt.ts'
export { extractLoras, type LoraTag } from './prompt/extra-networks.ts'
export type { LayerOptions } from './prompt/hidden-states.ts'
export { encodeLpw, type LpwOptions, type LpwResult } from './prompt/lpw.ts'
export { promptSchedule, type ScheduledText } from './prompt/schedule.ts'
export { applyStyles, findStyles, loadStyles, type PromptStyle } from './prompt/styles.ts'
export type { PromptSyntax, SyntaxName } from './prompt/syntax-choice.ts'
export type { ClipEncoder, TextComponents, TextComponentsXL } from './prompt/text-encoders.ts'
export { countTokens, type FittedPrompt, fitTokens } from './prompt/token-budget.ts'
export { encodeWebui, type WebuiEncoding, type WebuiOptions } from './prompt/webui.ts'
export { loadWildcards } from './prompt/wildcard-files.ts'
export { expandWildcards, type Wildcards } from './prompt/wildcards.ts'
export { Generator, type RandomDType, type RngKind, randnTensor } from './random.ts'
export * from './schedulers/index.ts'
export { Scope } from './scope.ts'
export { Tensor } from './tensor.ts'
export type { Device, DType, NestedNumbers, TensorArray, TypedArray } from './tensor-data.ts'
export * from './upscale/index.ts'
export * from './video/index.ts'
export { type ConvertOptions, type ConvertReport, convertCheckpoint } from './weights/convert.ts'
export type { SaveDType, SavePretrainedOptions, SaveProgress } from './weights/save.ts'
export type { PredictionType, SingleFileOptions } from './weights/single-file.ts'
