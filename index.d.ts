/* placeholder until the first build: same shape as the generated file */
/* eslint-disable */
export declare class NativeCancelToken {
  constructor()
  cancel(): void
}
export declare class NativeTensor {
  static fromBytes(data: Uint8Array, source: string, shape: Array<number>, dtype: string): NativeTensor
  static full(shape: Array<number>, value: number, dtype: string): NativeTensor
  static cat(tensors: Array<NativeTensor>, dim: number): NativeTensor
  static stack(tensors: Array<NativeTensor>, dim: number): NativeTensor
  static linearCombination(weights: Array<number>, tensors: Array<NativeTensor>): NativeTensor
  get shape(): Array<number>
  get dtype(): string
  get device(): string
  binary(op: string, other: NativeTensor): NativeTensor
  scalar(op: string, value: number): NativeTensor
  unary(op: string): NativeTensor
  clamp(low: number, high: number): NativeTensor
  reduce(op: string, dims: Array<number>, keepDim: boolean): NativeTensor
  argmax(dim: number): NativeTensor
  slice(dim: number, start: number, length: number): NativeTensor
  reshape(shape: Array<number>): NativeTensor
  permute(dims: Array<number>): NativeTensor
  expand(shape: Array<number>): NativeTensor
  repeat(repeats: Array<number>): NativeTensor
  repeatInterleave(repeats: number, dim: number): NativeTensor
  toDtype(dtype: string): NativeTensor
  toDevice(device: string): NativeTensor
  clone(): NativeTensor
  toBytes(): Uint8Array
  equal(other: NativeTensor): boolean
  dispose(): void
}
export interface NativeTensorMap {
  names: Array<string>
  tensors: Array<NativeTensor>
}
export declare function loadSafetensors(path: string, token: NativeCancelToken): Promise<NativeTensorMap>
export declare function saveSafetensors(path: string, names: Array<string>, tensors: Array<NativeTensor>, token: NativeCancelToken): Promise<void>
export declare class NativeGenerator {
  constructor(seed: bigint, rng: string)
  get seed(): bigint
  get rng(): string
  manualSeed(seed: bigint): void
  randn(shape: Array<number>, dtype: string): NativeTensor
  rand(shape: Array<number>, dtype: string): NativeTensor
  randint(low: number, high: number, shape: Array<number>): NativeTensor
  randperm(n: number): NativeTensor
  clone(): NativeGenerator
}
export interface NativeEncodeOptions {
  padding: string
  truncation: boolean
  maxLength?: number
  addSpecialTokens: boolean
}
export interface NativeEncoding {
  inputIds: NativeTensor
  attentionMask: NativeTensor
  truncated: Array<string>
}
export declare class NativeTokenizer {
  static load(path: string, token: NativeCancelToken): Promise<NativeTokenizer>
  encode(texts: Array<string>, options: NativeEncodeOptions): NativeEncoding
  decode(ids: Array<number>, skipSpecialTokens: boolean): string
  convertIdsToTokens(ids: Array<number>): Array<string>
  convertTokensToIds(tokens: Array<string>): Array<number>
  tokenize(text: string): Array<string>
  addTokens(tokens: Array<string>): number
  get modelMaxLength(): number
  get bosTokenId(): number
  get eosTokenId(): number
  get padTokenId(): number
  get vocabSize(): number
}
export interface NativeLoadOptions {
  path: string
  config: string
  variant?: string
  dtype: string
  device: string
  onProgress?: (loaded: number, total: number) => void
}
export interface NativeClipOutput {
  lastHiddenState: NativeTensor
  poolerOutput: NativeTensor
  textEmbeds?: NativeTensor
  hiddenStates: Array<NativeTensor>
}
export declare class NativeClip {
  static load(options: NativeLoadOptions, projection: boolean, token: NativeCancelToken): Promise<NativeClip>
  get config(): string
  get unknownKeys(): Array<string>
  forward(inputIds: NativeTensor, hiddenStates: boolean, token: NativeCancelToken): Promise<NativeClipOutput>
  finalLayerNorm(hidden: NativeTensor, token: NativeCancelToken): Promise<NativeTensor>
  dispose(): void
}
export interface NativeFreeU {
  s1: number
  s2: number
  b1: number
  b2: number
}
export interface NativeUnetInput {
  sample: NativeTensor
  timesteps: Array<number>
  encoderHiddenStates: NativeTensor
  classLabels?: NativeTensor
  timestepCond?: NativeTensor
  textEmbeds?: NativeTensor
  timeIds?: NativeTensor
  encoderAttentionMask?: NativeTensor
  downBlockAdditionalResiduals?: Array<NativeTensor>
  midBlockAdditionalResidual?: NativeTensor
  freeu?: NativeFreeU
}
export declare class NativeUnet {
  static load(options: NativeLoadOptions, token: NativeCancelToken): Promise<NativeUnet>
  get config(): string
  get unknownKeys(): Array<string>
  forward(input: NativeUnetInput, token: NativeCancelToken): Promise<NativeTensor>
  dispose(): void
}
export interface NativeVaeOptions {
  slicing: boolean
  tileSampleSize?: number
  tileOverlap?: number
}
export declare class NativeAutoencoderKl {
  static load(options: NativeLoadOptions, token: NativeCancelToken): Promise<NativeAutoencoderKl>
  get config(): string
  get unknownKeys(): Array<string>
  encode(image: NativeTensor, options: NativeVaeOptions, token: NativeCancelToken): Promise<NativeTensor>
  decode(latents: NativeTensor, options: NativeVaeOptions, token: NativeCancelToken): Promise<NativeTensor>
  dispose(): void
}
export declare function schedulerPlan(config: string, options: string): string
export declare function schedulerConfig(config: string): string
export declare function schedulerNoise(config: string, options: string): string
export declare function schedulerList(): string
export declare function inspect(path: string, token: NativeCancelToken): Promise<string>
export declare function doctor(): string
export declare function setThreads(threads: number): void
