import { freemem } from 'node:os'
import { expected, OutOfMemoryError } from '../errors.ts'
import { type Model, useModel } from '../models/model.ts'
import type { UNet2DConditionModel } from '../models/unet-2d-condition-model.ts'
import { bytesText } from '../quantities.ts'
import type { Denoiser } from './denoise-options.ts'
import { estimateRun, FLOAT, type Networks, type RunSize, restingIn, type Savings, type Stage } from './memory.ts'

/** Tiles that are small beside any picture; a network's own are as large as the pictures that it was trained on. */
const SMALL_TILES = { tileSampleMinSize: 256 }
/**
 * From the cheapest to the slowest: packing the weights of SD 1.5 again takes a second or two for each picture, small tiles a whole further decoding, and
 * direct convolutions half of every step. Pictures are the same to the bit until there are tiles.
 */
const SAVINGS: readonly Savings[] = [
  {},
  { unload: 'text encoders' },
  { unload: 'idle' },
  { unload: 'idle', tiling: {} },
  { unload: 'idle', tiling: SMALL_TILES },
  { unload: 'idle', tiling: SMALL_TILES, saveMemory: true },
]

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

/** The networks of a run: those that it needs in a stage are in use, so that no other run frees them; the weights of those that rest are freed. */
export class NetworksInUse implements Disposable {
  readonly #networks: Networks
  readonly #savings: Savings
  #leave: (() => void)[] = []

  constructor(networks: Networks, savings: Savings) {
    this.#networks = networks
    this.#savings = savings
  }

  /** Frees what rests in this stage, unless another run needs it; the calls that need it read it again. */
  enter(stage: Stage): void {
    const { unet, vae, textEncoder, textEncoder2 } = this.#networks
    const resting = restingIn(stage, this.#networks, this.#savings)
    const working = [unet, vae, textEncoder, textEncoder2].filter((model) => model != null && !resting.includes(model)) as Model[]
    const leave = working.map(useModel)
    this[Symbol.dispose]()
    this.#leave = leave
    for (const model of resting) {
      model.unload()
    }
  }

  /** The run needs none of them any more. */
  [Symbol.dispose](): void {
    for (const leave of this.#leave.splice(0)) {
      leave()
    }
  }
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
 * How a run saves memory so that the process stays within `limit` bytes, by default what the machine has: not at all if it fits, then by unloading
 * networks while they rest, then also by decoding in tiles, then also without second forms of the convolutions' weights. Throws `OutOfMemoryError` if nothing helps.
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
