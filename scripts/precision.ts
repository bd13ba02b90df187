/**
 * Prints the table of precisions in docs/performance.md: how far pictures and latents of each type are from those in f32, in dB of PSNR.
 *
 * `npx tsx scripts/precision.ts [--steps N] [--scale 2] [--only f16,bf16,int8,fast]`; `--scale` makes pictures that many times as wide and high as usual: from 2
 * on the built-in model's latents are large enough for what tells `fast` from `int8`.
 */
import { parseArgs } from 'node:util'
import { compare, type Distance, models } from '../test/engine/precision.ts'
import type { WeightsDType } from '../ts/index.ts'

const { values } = parseArgs({
  options: {
    steps: { type: 'string', default: '20' },
    scale: { type: 'string', default: '1' },
    only: { type: 'string', default: 'f16,bf16,int8,fast' },
  },
})
const decibels = ({ least, mean }: Distance): string => (least === Infinity ? 'equal' : `${least.toFixed(1)} (${mean.toFixed(1)})`)

console.log('| model | type | picture, least (mean) dB | latents, least (mean) dB | CPU seconds |\n| --- | --- | --- | --- | --- |')
const dtypes = values.only.split(',') as WeightsDType[]
for (const model of await models(Number(values.scale))) {
  for (const { dtype, image, latent, seconds } of await compare(model, dtypes, Number(values.steps))) {
    console.log(`| ${model.model} | ${dtype} | ${decibels(image)} | ${decibels(latent)} | ${seconds.toFixed(2)} |`)
  }
}
