import type { Command } from 'commander'
import type { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import type { DiffusionPipeline } from '../pipelines/pipeline.ts'
import type { ImagesResult } from '../pipelines/result.ts'
import { upscale } from '../upscale/upscale.ts'
import { UsageError } from './exit.ts'
import type { Progress } from './progress.ts'
import { wholeNumber } from './whole-number.ts'

/** Adds the flags of enlarging a picture to `generate`. */
export function addUpscaleFlags(command: Command): void {
  command
    .option('--upscale <factor>', 'enlarge the picture of --image and let the model add detail; --strength is 0.3 then')
    .option('--tile <pixels>', 'work on it in tiles of this size, for pictures larger than the model was trained on')
}

/** By how much to enlarge, and in which tiles; undefined without the flags. Throws `UsageError`. */
export function readUpscale(flags: Record<string, unknown>, task: string): { factor: number; tile?: number } | undefined {
  const { upscale: text, tile } = flags
  if (text === undefined) {
    if (tile !== undefined) {
      throw new UsageError('Expected --upscale <factor> with --tile, but it was not given')
    }
    return undefined
  }
  if (task !== 'imageToImage') {
    throw new UsageError('--upscale can be used only with --image, and without --mask')
  }
  const alone = ['count', 'seeds', 'preview'].find((name) => flags[name] !== undefined)
  if (alone !== undefined) {
    throw new UsageError(`--${alone} cannot be used with --upscale, which makes one picture`)
  }
  const factor = Number(text)
  if (!(factor > 1 && factor <= 16)) {
    throw new UsageError(`Expected a number above 1 and up to 16 for --upscale but received ${JSON.stringify(text)}`)
  }
  const side = tile === undefined ? undefined : wholeNumber('--tile', tile, 64)
  if (side !== undefined && side % 8 !== 0) {
    throw new UsageError(`Expected a multiple of 8 for --tile but received ${side}`)
  }
  return { factor, ...(side !== undefined && { tile: side }) }
}

/** Enlarges the picture of a call; the result is as that of a generation. */
export async function enlargePicture(
  pipe: DiffusionPipeline,
  { image, numImagesPerPrompt: _, ...options }: Record<string, unknown>,
  { factor, tile, signal, progress }: { factor: number; tile?: number; signal: AbortSignal; progress: Progress },
): Promise<ImagesResult> {
  const begun = performance.now()
  const large: Image = await upscale(pipe, image as ImageInput, {
    ...options,
    prompt: options.prompt as string,
    rounds: [{ factor }],
    tile: tile === undefined ? undefined : { size: tile },
    onProgress: ({ tile: done, tiles }) => progress.step(done, tiles, 0),
    signal,
  })
  const timings = { encode: 0, denoise: performance.now() - begun, decode: 0 }
  return { images: [large], seeds: large.seed === undefined ? [] : [large.seed], timings, truncated: [], partial: false }
}
