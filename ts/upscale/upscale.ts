import { checkNumber, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'
import { Image } from '../image/image.ts'
import type { ImageInput } from '../image/load-image.ts'
import { ControlNetModel } from '../models/controlnet.ts'
import type { TaskPipeline } from '../pipelines/auto.ts'
import { controlNet } from '../pipelines/controlnet-condition.ts'
import type { ImageToImageXLOptions } from '../pipelines/generate-options-xl.ts'
import type { DiffusionPipeline } from '../pipelines/pipeline.ts'
import { enlarge } from './enlarge.ts'
import { withImageToImage } from './image-to-image.ts'
import { mapTiles, type TileGrid } from './tiles.ts'

/** Options of image to image that a round may have of its own. */
type RoundOptions = Omit<ImageToImageXLOptions, 'image' | 'outputType' | 'numImagesPerPrompt' | 'seeds' | 'preview' | 'onAbort' | 'latents'>

/** One enlargement: by so much, then image to image. */
export interface UpscaleRound extends RoundOptions {
  /** Times the size. @default 2 */
  factor?: number
}

/** Options of `upscale`: those of image to image hold for every round that has none of its own. */
export interface UpscaleImageOptions extends RoundOptions {
  /** Enlargements, one after the other. @default one, twice the size */
  rounds?: readonly UpscaleRound[]
  /** A ControlNet Tile, which keeps to the picture while detail is added: strength 0.8, guidance 7 and 50 steps unless given. */
  tileControl?: ControlNetModel
  /** Work tile by tile, for pictures larger than the model was trained on. @default whole */
  tile?: TileGrid
  /** Hears of every finished piece of work. */
  onProgress?: (event: { round: number; rounds: number; tile: number; tiles: number }) => void
  signal?: AbortSignal
}

/** Strength 0.3 keeps features and style. */
const PLAIN = { strength: 0.3, numInferenceSteps: 50, guidanceScale: 7.5 }
const CONTROLLED = { strength: 0.8, numInferenceSteps: 50, guidanceScale: 7 }

/**
 * Enlarges a picture and lets the model of any pipeline add detail by image to image, in one round or several, each Lanczos first.
 *
 * Throws `InvalidArgumentError` before any work for bad options. With `tile`, each tile starts from the same seed; the picture's parameters say so.
 */
export async function upscale(pipe: DiffusionPipeline, image: ImageInput, options: UpscaleImageOptions): Promise<Image> {
  const { rounds = [{}], tileControl, tile, onProgress, signal, ...common } = checkOptions('options', options)
  if (!Array.isArray(rounds) || rounds.length === 0) {
    throw expected('a non-empty array of rounds', 'rounds', rounds)
  }
  for (const { factor = 2 } of rounds as readonly UpscaleRound[]) {
    checkNumber('factor', factor, { min: 0.01, max: 64 })
  }
  if (tileControl !== undefined && !(tileControl instanceof ControlNetModel)) {
    throw expected('a ControlNetModel', 'tileControl', tileControl)
  }
  return withImageToImage(pipe, async (own) => {
    let current: ImageInput = image
    let made: Image | undefined
    for (const [round, { factor = 2, ...settings }] of (rounds as readonly UpscaleRound[]).entries()) {
      const given = { ...(tileControl ? CONTROLLED : PLAIN), ...common, ...settings }
      const large = await enlarge(current, factor)
      let first: Image | undefined
      const work = async (piece: Image, index: number, total: number): Promise<Image> => {
        const again = first?.seed === undefined || given.generator !== undefined ? {} : { seed: first.seed }
        const one = await refine(own, piece, { ...given, ...again }, { tileControl, signal })
        first ??= one
        onProgress?.({ round: round + 1, rounds: rounds.length, tile: index + 1, tiles: total })
        return one
      }
      made = tile === undefined ? await work(large, 0, 1) : described(await mapTiles(large, work, tile), first, tile)
      current = made
    }
    return made as Image
  })
}

/** A picture made of tiles, with the seed and parameters of its first one. */
function described({ width, height, data }: Image, first: Image | undefined, { size = 512 }: TileGrid): Image {
  const parameters = first?.parameters && { ...first.parameters, width, height, tile: size }
  return new Image({ width, height, data, seed: first?.seed, parameters })
}

async function refine(
  pipe: TaskPipeline<ImageToImageXLOptions>,
  image: Image,
  options: RoundOptions,
  { tileControl, signal }: Pick<UpscaleImageOptions, 'tileControl' | 'signal'>,
): Promise<Image> {
  const control = tileControl === undefined ? [] : [controlNet(tileControl, { image })]
  const conditions = [...(options.conditions ?? []), ...control]
  const { images } = await pipe.generate({ ...options, image, ...(conditions.length > 0 && { conditions }) }, { signal })
  return images[0]
}
