import { checkInteger, checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import type { NativeTensor, NativeUnetInput } from '../native.ts'
import { handleOf, Tensor } from '../tensor.ts'
import type { TensorArray } from '../tensor-data.ts'
import { type MotionAdapter, nativeMotion } from '../video/motion-adapter.ts'
import type { FrameWindows } from '../video/unet-motion-model.ts'
import { type IPAdapter, ipAdapterHandle } from './ip-adapter.ts'

/** FreeU's factors: `s` weaken the skip connections, `b` strengthen the backbone, of the first and second up block. */
export type FreeUOptions = { s1: number; s2: number; b1: number; b2: number }

/** An image prompt of one UNet evaluation. */
export type ImagePromptInput = {
  adapter: IPAdapter
  /** What the adapter's `project` gave: (B, N, T, D). */
  tokens: Tensor
  /** Strength: one for all cross-attention layers, or one for each of `imageLayers`. @default 1 */
  scale?: number | readonly number[]
  /** Where each image counts, 0 .. 1: (1, N, H, W). @default everywhere */
  mask?: Tensor
}

/** Self-attention layers that some samples go through without being mixed. Source: arXiv:2403.17377. */
export type Perturbation = {
  /** Regular expressions over the names in the UNet's `selfAttentionLayers`, such as `mid` or `down_blocks.1`. */
  layers: readonly string[]
  /** How many samples at the end of the batch. */
  samples: number
}

/** Conditioning of one UNet evaluation. */
export type UNetForwardOptions = {
  /** (B, S, cross_attention_dim), from the text encoder. */
  encoderHiddenStates: Tensor
  /** Guidance scale embedding of LCM-like models: (B, time_cond_proj_dim). */
  timestepCond?: Tensor
  /** Class labels: (B) or (B, projection dim). */
  classLabels?: Tensor
  /**
   * SDXL's pooled text embedding (B, D) and size ids (B, 6 or 5); Kandinsky's image embeddings (B, encoder_hid_dim), and the picture that its UNet with
   * control follows, (B, 3, 8 height, 8 width).
   */
  addedCondKwargs?: { textEmbeds?: Tensor; timeIds?: Tensor; imageEmbeds?: Tensor; hint?: Tensor }
  /** 1 for text, 0 for padding: (B, S). */
  encoderAttentionMask?: Tensor
  /** ControlNet's residuals, one for each skip connection; only together with that of the middle block. */
  downBlockAdditionalResiduals?: readonly Tensor[]
  /** ControlNet's residual of the middle block. */
  midBlockAdditionalResidual?: Tensor
  /** T2I-Adapter's features, one for each down block. */
  downIntrablockAdditionalResiduals?: readonly Tensor[]
  /** Images that the cross-attention layers read beside the text. */
  imagePrompts?: readonly ImagePromptInput[]
  /** Perturbed-attention guidance. */
  perturbed?: Perturbation
  /** Motion modules; the batch then holds the frames of each video next to each other, and text and other conditions are repeated for them. */
  motion?: { adapter: MotionAdapter; frames: number; windows?: FrameWindows }
  /** FreeU for this call alone. @default what `enableFreeU` set */
  freeu?: FreeUOptions
  /** Keeps no second, larger form of the convolutions' weights, which is slower. @default false */
  saveMemory?: boolean
  /** Stops the work. */
  signal?: AbortSignal
}

/** Conditioning of UNets that read image embeddings in the place of text (`encoder_hid_dim_type: 'image_proj'`). */
export type UNetImageOptions = Omit<UNetForwardOptions, 'encoderHiddenStates'> & {
  encoderHiddenStates?: undefined
  addedCondKwargs: { imageEmbeds: Tensor; hint?: Tensor }
}

/** Checks the arguments of a UNet, or of a network that is told the same, and takes their native handles. Throws `InvalidArgumentError`. */
export function unetInput(
  sample: Tensor,
  timestep: unknown,
  given: UNetForwardOptions | UNetImageOptions,
  channels: number,
): NativeUnetInput {
  const handle = handleOf(sample, 'sample')
  if (sample.shape.length !== 4 || sample.shape[1] !== channels) {
    throw expected(`a Tensor of shape [batch, ${channels}, height, width]`, 'sample', sample)
  }
  const timesteps = timestepsOf(timestep)
  if (timesteps.length !== 1 && timesteps.length !== sample.shape[0]) {
    throw expected(`one number or ${sample.shape[0]} (the batch size)`, 'timestep', timestep)
  }
  return { sample: handle, timesteps, ...conditioningOf(given) }
}

/** Checks the motion modules of a call; what adapters change in them is built if it is not yet. Throws `InvalidArgumentError`. */
export async function motionInput(
  { adapter, frames, windows }: NonNullable<UNetForwardOptions['motion']>,
  signal?: AbortSignal,
): Promise<Partial<NativeUnetInput>> {
  return {
    frames: checkInteger('motion.frames', frames, { min: 1 }),
    windows: windows && { stride: checkInteger('motion.windows.stride', windows.stride, { min: 1 }), weights: [...windows.weights] },
    motion: await nativeMotion(adapter, 'motion.adapter', signal),
  }
}

/** Checks FreeU's factors. */
export function checkFreeU(options: FreeUOptions): FreeUOptions {
  if (typeof options !== 'object' || options === null) {
    throw expected('an object with s1, s2, b1 and b2', 'options', options)
  }
  const { s1, s2, b1, b2 } = options
  return { s1: checkNumber('s1', s1), s2: checkNumber('s2', s2), b1: checkNumber('b1', b1), b2: checkNumber('b2', b2) }
}

function timestepsOf(timestep: unknown): number[] {
  if (timestep instanceof Tensor) {
    return Array.from<number | bigint, number>(timestep.toArray<TensorArray>(), Number)
  }
  const list: unknown[] = Array.isArray(timestep) ? timestep : [timestep]
  return list.map((item) => checkNumber('timestep', item))
}

function conditioningOf(given: UNetForwardOptions | UNetImageOptions): Omit<NativeUnetInput, 'sample' | 'timesteps'> {
  if ((given.downBlockAdditionalResiduals === undefined) !== (given.midBlockAdditionalResidual === undefined)) {
    const missing = given.midBlockAdditionalResidual === undefined ? 'midBlockAdditionalResidual' : 'downBlockAdditionalResiduals'
    throw expected('residuals of the down blocks and of the middle block together', missing, undefined)
  }
  const { textEmbeds, timeIds, imageEmbeds, hint }: NonNullable<UNetForwardOptions['addedCondKwargs']> = given.addedCondKwargs ?? {}
  if (given.encoderHiddenStates === undefined && imageEmbeds === undefined) {
    throw expected('a Tensor', 'encoderHiddenStates', undefined)
  }
  return {
    encoderHiddenStates: optional(given.encoderHiddenStates, 'encoderHiddenStates'),
    timestepCond: optional(given.timestepCond, 'timestepCond'),
    classLabels: optional(given.classLabels, 'classLabels'),
    textEmbeds: optional(textEmbeds, 'addedCondKwargs.textEmbeds'),
    timeIds: optional(timeIds, 'addedCondKwargs.timeIds'),
    imageEmbeds: optional(imageEmbeds, 'addedCondKwargs.imageEmbeds'),
    hint: optional(hint, 'addedCondKwargs.hint'),
    encoderAttentionMask: optional(given.encoderAttentionMask, 'encoderAttentionMask'),
    downBlockAdditionalResiduals: list(given.downBlockAdditionalResiduals, 'downBlockAdditionalResiduals'),
    midBlockAdditionalResidual: optional(given.midBlockAdditionalResidual, 'midBlockAdditionalResidual'),
    downIntrablockAdditionalResiduals: list(given.downIntrablockAdditionalResiduals, 'downIntrablockAdditionalResiduals'),
    imagePrompts: given.imagePrompts?.map(imagePromptOf),
    freeu: given.freeu && checkFreeU(given.freeu),
  }
}

function imagePromptOf({ adapter, tokens, scale = 1, mask }: ImagePromptInput): NonNullable<NativeUnetInput['imagePrompts']>[number] {
  return {
    adapter: ipAdapterHandle(adapter, 'imagePrompts.adapter'),
    tokens: handleOf(tokens, 'imagePrompts.tokens'),
    scales: typeof scale === 'number' ? [scale] : [...scale],
    mask: optional(mask, 'imagePrompts.mask'),
  }
}

function list(tensors: readonly Tensor[] | undefined, name: string): NativeTensor[] | undefined {
  if (tensors !== undefined && !Array.isArray(tensors)) {
    throw expected('an array of Tensors', name, tensors)
  }
  return tensors?.map((tensor, i) => handleOf(tensor, `${name}[${i}]`))
}

function optional(tensor: Tensor | undefined, name: string): NativeTensor | undefined {
  return tensor === undefined || tensor === null ? undefined : handleOf(tensor, name)
}
