import { checkInteger } from '../checks.ts'
import type { DecodeOptions } from '../models/autoencoder-kl.ts'
import type { MemoryNeed } from '../models/memory-need.ts'
import type { Model } from '../models/model.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { UNetForwardOptions, UNetImageOptions } from '../models/unet-input.ts'
import { native } from '../native.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { pictureSize } from './picture-size.ts'
import type { Autoencoder } from './pipeline-class.ts'

/** What a run would take, in bytes. */
export type MemoryEstimate = {
  /** What native code holds now: the weights of everything that is loaded. */
  held: number
  /** One step of the denoiser. */
  denoise: MemoryNeed
  /** Decoding: one picture at a time. */
  decode: MemoryNeed
  /** Resident memory of the process at its highest. */
  peak: number
}

/** The size of a run. */
export type RunSize = {
  height: number
  width: number
  images: number
  /** Rows of the batch for each image: 2 with guidance. */
  rows: number
}

/** What `estimate` is asked: size and number of the pictures. */
export type EstimateOptions = { height?: number; width?: number; numImagesPerPrompt?: number; guided?: boolean }

/** How a run saves memory. */
export type Savings = Pick<DecodeOptions, 'tiling' | 'saveMemory'> & {
  /** Which networks free their weights, and read them again, while others work: the text encoders, or whatever rests in a stage. @default none */
  unload?: 'text encoders' | 'idle'
}

/** The networks of a run that take memory by its size, or that may free their weights. */
export type Networks = { unet: UNet2DConditionModel; vae: Autoencoder; textEncoder?: Model | null; textEncoder2?: Model | null }

/** What a run does, one after the other. */
export type Stage = 'encoding' | 'denoising' | 'decoding'

/** Tokens of a prompt. */
const TOKENS = 77
/** Copies of the finished pixels on their way out: as decoded, joined, and as bytes. */
const PIXEL_COPIES = 3
/** Bytes of a number. */
export const FLOAT = 4
/** Resident memory besides native memory when this module was loaded: Node, V8's heap, code. */
const BASE = process.memoryUsage.rss() - native.nativeMemory(false).live
/** What a first run adds to it: stacks of threads, small blocks, compiled code. */
const GROWTH = 64 * 2 ** 20
/** Most that freed blocks which no later one fits into take while work goes on: `SPARE` of the native allocator. */
const SPARE = 64 * 2 ** 20

/** What a call would take, for pictures of the size that the UNet was trained on unless said otherwise; nothing is computed. */
export async function estimateCall(
  networks: Networks,
  { numImagesPerPrompt = 1, guided = true, ...size }: EstimateOptions,
): Promise<MemoryEstimate> {
  const { unet, vae } = networks
  const { height, width } = pictureSize(size, { unet, factor: vae.scaleFactor, multiple: vae.scaleFactor })
  const images = checkInteger('numImagesPerPrompt', numImagesPerPrompt, { min: 1 })
  return estimateRun(networks, { height, width, images, rows: guided ? 2 : 1 })
}

/** The networks that free their weights before a stage. */
export function restingIn(stage: Stage, { unet, vae, textEncoder, textEncoder2 }: Networks, { unload }: Savings): Model[] {
  const text = unload === undefined || stage === 'encoding' ? [] : [textEncoder, textEncoder2]
  const idle = { encoding: [unet, vae], denoising: [vae], decoding: [unet] }
  return [...text, ...(unload === 'idle' ? idle[stage] : [])].filter((model) => model?.canUnload === true) as Model[]
}

/** What a run of this size would take; nothing is computed. */
export async function estimateRun(networks: Networks, size: RunSize, savings: Savings = {}): Promise<MemoryEstimate> {
  const { unet, vae, textEncoder, textEncoder2 } = networks
  using scope = new Scope()
  const latent = [size.height / vae.scaleFactor, size.width / vae.scaleFactor]
  const rows = size.rows * size.images
  const sample = scope.keep(Tensor.zeros([rows, unet.sampleChannels, ...latent]))
  const latents = scope.keep(Tensor.zeros([1, vae.config.latent_channels, ...latent]))
  const held = native.nativeMemory(false).live
  const denoise = await unet.forwardMemory(sample, 1, { ...conditioning(unet, sample, scope), saveMemory: savings.saveMemory })
  const decode = await vae.decodeMemory(latents, savings)
  const pixels = PIXEL_COPIES * FLOAT * vae.config.out_channels * size.images * size.height * size.width
  const absent = bytesOf([unet, vae, textEncoder, textEncoder2].filter((model) => model?.isHeld === false))
  const weights = (stage: Stage): number => held + absent - bytesOf(restingIn(stage, networks, savings))
  const spare = (bytes: number): number => bytes + Math.min(bytes, SPARE)
  const most = Math.max(
    weights('encoding'),
    weights('denoising') + denoise.kept + spare(denoise.activations),
    weights('decoding') + denoise.kept + decode.kept + spare(decode.activations + pixels),
  )
  return { held, denoise, decode, peak: BASE + GROWTH + most }
}

function bytesOf(models: readonly (Model | null | undefined)[]): number {
  return models.reduce((sum, model) => sum + (model?.unloadableBytes ?? 0), 0)
}

/** Zeros in the shapes of a prompt. */
function conditioning(
  { config }: UNet2DConditionModel,
  { shape: [rows = 1, , height = 1, width = 1] }: Tensor,
  scope: Scope,
): UNetForwardOptions | UNetImageOptions {
  const zeros = (...shape: number[]): Tensor => scope.keep(Tensor.zeros(shape))
  if (config.encoder_hid_dim_type === 'image_proj') {
    const hint = config.addition_embed_type === 'image_hint' ? zeros(rows, 3, 8 * height, 8 * width) : undefined
    return { addedCondKwargs: { imageEmbeds: zeros(rows, Number(config.encoder_hid_dim)), hint } }
  }
  const { cross_attention_dim: textWidth, addition_time_embed_dim: timeWidth, projection_class_embeddings_input_dim: projected } = config
  const encoderHiddenStates = zeros(rows, TOKENS, typeof textWidth === 'number' ? textWidth : (textWidth[0] ?? 1))
  const timestepCond = config.time_cond_proj_dim === null ? undefined : zeros(rows, config.time_cond_proj_dim)
  const classLabels = labels(config, rows, scope)
  if (config.addition_embed_type !== 'text_time' || timeWidth === null || projected === null) {
    return { encoderHiddenStates, timestepCond, classLabels }
  }
  // SDXL's refiner has five ids and narrower text, the base model six: whichever leaves a width that a text encoder has.
  const ids = (projected - 6 * timeWidth) % 128 === 0 && projected - 6 * timeWidth >= timeWidth ? 6 : 5
  return {
    encoderHiddenStates,
    timestepCond,
    classLabels,
    addedCondKwargs: { textEmbeds: zeros(rows, projected - ids * timeWidth), timeIds: zeros(rows, ids) },
  }
}

/** Labels for a UNet that takes them, as the upscaler's noise levels: numbers of classes, or vectors where the config projects them. */
function labels(config: UNet2DConditionModel['config'], rows: number, scope: Scope): Tensor | undefined {
  const { class_embed_type: kind, num_class_embeds: classes, projection_class_embeddings_input_dim: width } = config
  if (kind === 'projection' || kind === 'simple_projection') {
    return scope.keep(Tensor.zeros([rows, width ?? 1]))
  }
  if (kind === 'identity') {
    return scope.keep(Tensor.zeros([rows, 4 * (config.block_out_channels[0] ?? 1)]))
  }
  return kind === 'timestep' || typeof classes === 'number' ? scope.keep(Tensor.zeros([rows], 'i64')) : undefined
}
