import { stat } from 'node:fs/promises'
import type { WeightsDType } from '../models/model.ts'
import { AutoPipelineForText2Image } from '../pipelines/auto.ts'
import type { MemoryEstimate } from '../pipelines/memory.ts'
import { bytesText } from '../quantities.ts'
import { print, printJson } from './exit.ts'
import { table } from './table.ts'
import { wholeNumber } from './whole-number.ts'

/** Flags of `estimate`. */
export type EstimateFlags = { width?: string; height?: string; batch: string; dtype: string; guidance: boolean; json?: boolean }

function rows({ held, denoise, decode, peak }: MemoryEstimate): string[][] {
  return [
    ['weights', bytesText(held)],
    ['forms of weights made by the first picture and kept', bytesText(denoise.kept + decode.kept)],
    ['one step', bytesText(denoise.activations)],
    ['decoding', bytesText(decode.activations)],
    ['at most, with the program itself', bytesText(peak)],
  ]
}

/** `estimate`: the memory that a picture of a size takes, told from headers: no weights are read, nothing is computed. */
export async function estimateCommand(model: string, flags: EstimateFlags): Promise<void> {
  const side = (name: 'width' | 'height'): number | undefined =>
    flags[name] === undefined ? undefined : wholeNumber(`--${name}`, flags[name], 8)
  const size = {
    width: side('width'),
    height: side('height'),
    numImagesPerPrompt: wholeNumber('--batch', flags.batch, 1),
    guided: flags.guidance,
  }
  const options = { dtype: flags.dtype as WeightsDType, device: 'meta' } as const
  const isFile = await stat(model).then(
    (entry) => entry.isFile(),
    () => false,
  )
  await using pipe = await (isFile
    ? AutoPipelineForText2Image.fromSingleFile(model, options)
    : AutoPipelineForText2Image.fromPretrained(model, options))
  const estimate = await pipe.estimate(size)
  if (flags.json) {
    printJson({ model, ...estimate })
    return
  }
  for (const line of table(rows(estimate))) {
    print(line)
  }
}
