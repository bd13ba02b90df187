import { abortable } from '../abort.ts'
import { ConfigError } from '../errors.ts'
import { CLIPImageProcessor } from '../image/clip-image-processor.ts'
import { toImages } from '../image/to-images.ts'
import { type NativeClipVision, native } from '../native.ts'
import { handleOf, type Tensor, wrapTensor } from '../tensor.ts'
import { type LoadOptions, loadNative, planLoad, readConfig } from './load.ts'
import { Model, type ModelPlace } from './model.ts'

/** What the checker found in one picture. */
export type SafetyVerdict = {
  /** Whether a concept is nearer than its threshold. */
  flagged: boolean
  /** Cosine minus threshold of each of the 17 concepts; above 0.0005 counts. */
  conceptScores: number[]
  /** The same of the 3 concepts that make the others stricter by 0.01. */
  specialScores: number[]
}

type Concepts = { embeds: number[][]; thresholds: number[] }

const { fround } = Math
const NAMES = ['concept_embeds', 'concept_embeds_weights', 'special_care_embeds', 'special_care_embeds_weights']
/** Python rounds scores to three digits and asks whether they are above zero. */
const ROUNDS_TO_ZERO = 0.0005
const STRICTER = 0.01

/**
 * Tells pictures that people may not want to see, by their nearness to concepts in CLIP's space. False alarms happen. It is off unless a pipeline is
 * loaded with `loadSafetyChecker: true` or given one. Source: diffusers stable_diffusion/safety_checker.py `StableDiffusionSafetyChecker`.
 */
export class StableDiffusionSafetyChecker extends Model {
  /** The config of the folder. */
  readonly config: Readonly<Record<string, unknown>>
  readonly #native: NativeClipVision
  readonly #concepts: Concepts
  readonly #special: Concepts
  readonly #processor: CLIPImageProcessor

  private constructor(handle: NativeClipVision, place: ModelPlace, given: { config: Record<string, unknown>; tensors: Tensor[] }) {
    super(place, () => handle.dispose(), handle)
    this.#native = handle
    this.config = Object.freeze(given.config)
    const [concepts, thresholds, special, specialThresholds] = given.tensors
    this.#concepts = { embeds: rowsOf(concepts), thresholds: rowsOf(thresholds).flat() }
    this.#special = { embeds: rowsOf(special), thresholds: rowsOf(specialThresholds).flat() }
    const { image_size } = JSON.parse(handle.config) as { image_size: number }
    this.#processor = new CLIPImageProcessor({ size: image_size })
  }

  /** Reads a folder with `config.json` and weights, such as `safety_checker` of a Stable Diffusion 1.x model. */
  static async fromPretrained(dir: string, options?: LoadOptions): Promise<StableDiffusionSafetyChecker> {
    const plan = await planLoad(dir, options, 'safety_checker')
    const config = await readConfig(plan.source)
    const { vision_config: vision, projection_dim: projection } = config
    if (typeof vision !== 'object' || vision === null) {
      throw new ConfigError(`Expected an object for vision_config in ${plan.source} but received ${String(vision)}`)
    }
    const own = projection === undefined ? vision : { ...vision, projection_dim: projection }
    const { signal, variant } = plan.options
    const { tensors } = await abortable(signal, (token) => native.readTensors(plan.source, variant, NAMES, token))
    const handle = await loadNative({ ...plan, part: 'safety_checker' }, own, native.NativeClipVision.loadWithProjection)
    return new StableDiffusionSafetyChecker(handle, plan, { config, tensors: tensors.map(wrapTensor) })
  }

  /** Whether each picture should be blackened: images (B, 3, H, W) from 0 to 1. */
  async check(images: Tensor, options?: { signal?: AbortSignal }): Promise<boolean[]> {
    return (await this.judge(images, options)).map(({ flagged }) => flagged)
  }

  /** The scores of each picture: images (B, 3, H, W) from 0 to 1. */
  async judge(images: Tensor, { signal }: { signal?: AbortSignal } = {}): Promise<SafetyVerdict[]> {
    this.assertUsable()
    using doubled = images.mul(2)
    using centred = doubled.sub(1)
    using pixels = await this.#processor.preprocess(await toImages(centred))
    const output = await abortable(signal, (token) => this.#native.forward(handleOf(pixels, 'images'), false, token))
    if (output.imageEmbeds === undefined) {
      throw new ConfigError('Expected an image encoder with projection in the safety checker but received one without')
    }
    using embeds = wrapTensor(output.imageEmbeds)
    return rowsOf(embeds).map((row) => this.#verdict(row))
  }

  #verdict(embed: readonly number[]): SafetyVerdict {
    let adjustment = 0
    const score = ({ embeds, thresholds }: Concepts, i: number): number =>
      fround(fround(cosine(embed, embeds[i] ?? []) - (thresholds[i] ?? 0)) + adjustment)
    const specialScores = this.#special.embeds.map((_, i) => {
      const found = score(this.#special, i)
      adjustment = found > ROUNDS_TO_ZERO ? STRICTER : adjustment
      return found
    })
    const conceptScores = this.#concepts.embeds.map((_, i) => score(this.#concepts, i))
    return { flagged: conceptScores.some((found) => found > ROUNDS_TO_ZERO), conceptScores, specialScores }
  }
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]): number => x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0)
  return fround(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))
}

/** A matrix as rows; a vector as rows of one. */
function rowsOf(tensor: Tensor | undefined): number[][] {
  if (tensor === undefined) {
    return []
  }
  const [rows = 0, width = 1] = tensor.shape
  const values = Array.from<number | bigint, number>(tensor.toArray(), Number)
  return Array.from({ length: rows }, (_, i) => values.slice(i * width, (i + 1) * width))
}
