import { freemem } from 'node:os'
import { bytesText } from '../cli/table.ts'
import { expected, OutOfMemoryError } from '../errors.ts'
import type { DecodeOptions } from '../models/autoencoder-kl.ts'
import type { MemoryNeed } from '../models/memory-need.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import type { UNetForwardOptions, UNetImageOptions } from '../models/unet-input.ts'
import { native } from '../native.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { Denoiser } from './denoise-options.ts'
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
export type Savings = Pick<DecodeOptions, 'tiling' | 'saveMemory'>

type Networks = { unet: UNet2DConditionModel; vae: Autoencoder }

/** Tokens of a prompt. */
const TOKENS = 77
/** Copies of the finished pixels on their way out: as decoded, joined, and as bytes. */
const PIXEL_COPIES = 3
const FLOAT = 4
/** Resident memory besides native memory when this module was loaded: Node, V8's heap, code. */
const BASE = process.memoryUsage.rss() - native.nativeMemory(false).live
/** What a first run adds to it: stacks of threads, small blocks, compiled code. */
const GROWTH = 64 * 2 ** 20
/** Resident native memory over what is in use: freed blocks that no later one fits into keep their pages while work goes on. */
const SLACK = 1.08

/** Tiles that are small beside any picture; a network's own are as large as the pictures that it was trained on. */
const SMALL_TILES = { tileSampleMinSize: 256 }
/** From the cheapest to the slowest. */
const SAVINGS: readonly Savings[] = [{}, { tiling: {} }, { tiling: SMALL_TILES }, { tiling: SMALL_TILES, saveMemory: true }]

/** What a run of this size would take; nothing is computed. */
export async function estimateRun({ unet, vae }: Networks, size: RunSize, savings: Savings = {}): Promise<MemoryEstimate> {
  using scope = new Scope()
  const latent = [size.height / vae.scaleFactor, size.width / vae.scaleFactor]
  const rows = size.rows * size.images
  const sample = scope.keep(Tensor.zeros([rows, unet.sampleChannels, ...latent]))
  const latents = scope.keep(Tensor.zeros([1, vae.config.latent_channels, ...latent]))
  const held = native.nativeMemory(false).live
  const denoise = await unet.forwardMemory(sample, 1, { ...conditioning(unet, sample, scope), saveMemory: savings.saveMemory })
  const decode = await vae.decodeMemory(latents, savings)
  const pixels = PIXEL_COPIES * FLOAT * vae.config.out_channels * size.images * size.height * size.width
  const most = Math.max(denoise.activations, decode.activations + pixels)
  return { held, denoise, decode, peak: BASE + GROWTH + SLACK * (held + denoise.kept + decode.kept + most) }
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

/** Memory that the process may take: what it has and what the system, or its container, has left. */
function available(): number {
  const left = (process as { availableMemory?: () => number }).availableMemory?.() ?? freemem()
  return left + process.memoryUsage.rss()
}

/** Bytes that any run of this size takes for sure, told by arithmetic alone: three images of the VAE's last block, or of the UNet's first. */
function floor({ unet, vae }: Networks, { height, width, images, rows }: RunSize): number {
  const decode = height * width * (vae.config.block_out_channels[0] ?? 1)
  const cells = (height * width) / vae.scaleFactor ** 2
  const denoise = rows * images * cells * (unet.config.block_out_channels[0] ?? 1)
  return 3 * FLOAT * Math.max(decode, denoise)
}

/** The UNet as one that keeps no second form of its convolutions' weights. */
export function saving(unet: UNet2DConditionModel): Denoiser {
  return { forward: (sample, timestep, options) => unet.forward(sample, timestep, { ...options, saveMemory: true }) }
}

function tooLarge({ height, width, images }: RunSize, limit: number, needed: number): OutOfMemoryError {
  const pictures = images === 1 ? 'a picture' : `${images} pictures`
  return new OutOfMemoryError(
    `Expected ${pictures} within ${bytesText(limit)} of memory for width and height but received ${width} x ${height}, which ${images === 1 ? 'takes' : 'take'} ${bytesText(needed)}`,
  )
}

/** Throws `OutOfMemoryError` for a size that no way of running could fit into what the machine has; takes no time. */
export function refuseHopeless(networks: Networks, size: RunSize): void {
  const [least, most] = [floor(networks, size), available()]
  if (least > most) {
    throw tooLarge(size, most, least)
  }
}

/**
 * How a run saves memory so that the process stays within `limit` bytes, by default what the machine has: not at all if it fits, then by decoding in
 * tiles, then also without second forms of the convolutions' weights. Throws `OutOfMemoryError` if nothing helps.
 *
 * Without a limit, sizes that clearly fit cost nothing to check.
 */
export async function savingsFor(networks: Networks, size: RunSize, limit?: number): Promise<Savings> {
  if (limit !== undefined && !(limit > 0)) {
    throw expected('a positive number of bytes', 'memory', limit)
  }
  const most = Math.min(limit ?? Number.POSITIVE_INFINITY, available())
  const least = floor(networks, size)
  if (limit === undefined && 8 * least < most) {
    return {}
  }
  // Beyond what exists even a dry run could not reserve its address space.
  refuseHopeless(networks, size)
  let needed = 0
  for (const savings of SAVINGS) {
    needed = (await estimateRun(networks, size, savings)).peak
    if (needed <= most) {
      return savings
    }
  }
  throw tooLarge(size, most, needed)
}
