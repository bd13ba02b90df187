/**
 * Prints the table of precisions in docs/performance.md: how far pictures and latents of each type are from those in f32, in dB of PSNR.
 *
 * `npx tsx scripts/precision.ts [--steps N]`
 */
import { parseArgs } from 'node:util'
import { compare, type Distance, models } from '../test/engine/precision.ts'

const { values } = parseArgs({ options: { steps: { type: 'string', default: '20' } } })
const decibels = ({ least, mean }: Distance): string => (least === Infinity ? 'equal' : `${least.toFixed(1)} (${mean.toFixed(1)})`)

console.log('| model | type | picture, least (mean) dB | latents, least (mean) dB | CPU seconds |\n| --- | --- | --- | --- | --- |')
for (const model of await models()) {
  for (const { dtype, image, latent, seconds } of await compare(model, ['f16', 'bf16', 'int8'], Number(values.steps))) {
    console.log(`| ${model.model} | ${dtype} | ${decibels(image)} | ${decibels(latent)} | ${seconds.toFixed(2)} |`)
  }
}
