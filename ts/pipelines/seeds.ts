import { randomInt } from 'node:crypto'
import { expected } from '../errors.ts'
import { Generator } from '../random.ts'

/** A seed; torch’s CPU generator uses its low 32 bits. */
export type Seed = number | bigint

/** The options of a call that say where its noise comes from. */
export interface NoiseOptions {
  seed?: Seed
  seeds?: Seed[]
  rng?: 'torch-cpu' | 'torch-cuda'
  generator?: Generator | Generator[]
}

/** Where the noise of a call comes from. */
export interface NoiseSource {
  /** One for the whole batch, or one per image. */
  generator: Generator | Generator[]
  /** Seed of every image; with one generator for the whole batch, its seed each time. */
  seeds: Seed[]
  /** True where each image depends on its own seed only, whatever else is in the batch. */
  perImage: boolean
}

/**
 * Makes the generators of a call with `images` images.
 *
 * `seed: n` gives image i a generator of its own with seed n + i, so that an image does not depend on the size of its batch;
 * `seeds` names them one by one; `generator` is used as diffusers does. Without any of them, a random first seed is drawn.
 * Throws `InvalidArgumentError` if more than one is given or a list has the wrong length.
 */
export function noiseSource({ seed, seeds, rng, generator }: NoiseOptions, images: number): NoiseSource {
  const given = [seed, seeds, generator].filter((value) => value !== undefined)
  if (given.length > 1) {
    throw expected('at most one of seed, seeds and generator', 'seed', seed ?? seeds)
  }
  if (generator !== undefined) {
    const list = Array.isArray(generator) ? generator : Array.from({ length: images }, () => generator)
    if (list.length !== images) {
      throw expected(`one Generator, or one for each of ${images} images`, 'generator', generator)
    }
    return { generator, seeds: list.map((item) => item.seed), perImage: false }
  }
  if (seeds !== undefined && seeds.length !== images) {
    throw expected(`one seed for each of ${images} images`, 'seeds', seeds)
  }
  const chosen = seeds ?? consecutive(seed ?? randomInt(2 ** 32 - images), images)
  return { generator: chosen.map((value) => new Generator(value, { rng })), seeds: chosen, perImage: true }
}

function consecutive(first: Seed, length: number): Seed[] {
  return Array.from({ length }, (_, i) => (typeof first === 'bigint' ? first + BigInt(i) : first + i))
}
