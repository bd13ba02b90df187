import { AutoPipelineForText2Image } from '../pipelines/auto.ts'
import type { MemoryEstimate } from '../pipelines/memory.ts'
import { bytesText } from '../quantities.ts'
import { print, printJson } from './exit.ts'
import { loadModel } from './load-model.ts'
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
  await using pipe = await loadModel(AutoPipelineForText2Image, model, { dtype: flags.dtype, device: 'meta' }, {})
  const estimate = await pipe.estimate(size)
  if (flags.json) {
    printJson({ model, ...estimate })
    return
  }
  for (const line of table(rows(estimate))) {
    print(line)
  }
}
