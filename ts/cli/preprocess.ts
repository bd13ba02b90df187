import { parse, resolve } from 'node:path'
import type { Image } from '../image/image.ts'
import { canny } from '../preprocess/canny.ts'
import { DepthDetector } from '../preprocess/depth-detector.ts'
import { detectorFor } from '../preprocess/detector.ts'
import { note, UsageError } from './exit.ts'
import { wholeNumber } from './whole-number.ts'

/** `preprocess`: writes what a ControlNet follows. */
export async function preprocessCommand(kind: string, picture: string, flags: Record<string, unknown>): Promise<void> {
  const { name, dir } = parse(resolve(picture))
  const target = typeof flags.out === 'string' ? flags.out : resolve(dir, `${name}-${kind}.png`)
  const image = await detect(kind, picture, flags)
  note(`Wrote ${await image.save(target)} (${image.width} x ${image.height})`)
}

async function detect(kind: string, picture: string, { resolution, low, high, model }: Record<string, unknown>): Promise<Image> {
  const common = { detectResolution: resolution === undefined ? undefined : wholeNumber('--resolution', resolution, 64) }
  if (kind !== 'canny' && (low !== undefined || high !== undefined)) {
    throw new UsageError(`${low === undefined ? '--high' : '--low'} can be used only with canny`)
  }
  if (kind === 'canny') {
    const lowThreshold = low === undefined ? undefined : wholeNumber('--low', low, 0)
    const highThreshold = high === undefined ? undefined : wholeNumber('--high', high, 0)
    return canny(picture, { ...common, lowThreshold, highThreshold })
  }
  if (kind === 'depth' && typeof model === 'string') {
    await using detector = await DepthDetector.fromPretrained(model)
    return await detector.detect(picture, common)
  }
  try {
    return await detectorFor(kind).detect(picture, common)
  } catch (error) {
    throw kind === 'depth' ? new UsageError('Expected --model <folder> with depth, but it was not given') : error
  }
}
