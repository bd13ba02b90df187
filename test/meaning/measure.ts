import type { Image } from '../../ts/index.ts'

/** Whether to judge as many pictures as models/train/README.md reports on, instead of enough for CI. */
const full = process.env.NODE_DIFFUSION_MEANING === 'full'

/** How many pictures to judge. */
export const amount = (inCi: number, inFull: number): number => (full ? inFull : inCi)

/**
 * The least that must be right of `of` pictures, where each is right with probability `share`: below it lie less than 1 % of all runs.
 *
 * A run repeats exactly on one machine, but another instruction set rounds otherwise and draws a few other pictures.
 */
export function needed(of: number, share: number): number {
  let [least, tail, chance] = [0, 0, (1 - share) ** of]
  while (least < of && tail + chance < 0.01) {
    tail += chance
    chance *= ((of - least) / (least + 1)) * (share / (1 - share))
    least += 1
  }
  return least
}

/** The most that may be wrong of `of` pictures, where each is wrong with probability `share`: above it lie less than 1 % of all runs. */
export const allowed = (of: number, share: number): number => of - needed(of, 1 - share)

/** Makes pictures in batches of ten; `run` gets a slice of the items and the seed of its first picture. */
export async function inBatches<T>(items: readonly T[], run: (items: T[], seed: number) => Promise<readonly Image[]>): Promise<Image[]> {
  const images: Image[] = []
  for (let i = 0; i < items.length; i += 10) {
    images.push(...(await run(items.slice(i, i + 10), i)))
  }
  return images
}

/** `right of of` of each part, for messages. */
export const summary = (parts: Record<string, { right: number; of: number }>): string =>
  Object.entries(parts)
    .map(([name, { right, of }]) => `${name} ${right}/${of}`)
    .join(', ')
