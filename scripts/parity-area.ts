/** Runs one area of the parity pack whose cases are TypeScript's, and prints its lines; `scripts/parity.mjs` reads them. */
import type { ParityResult } from '../test/parity/tally.ts'

const areas: Record<string, () => Promise<(folder: string) => Promise<ParityResult>>> = {
  schedulers: async () => (await import('../test/parity/schedulers.ts')).paritySchedulers,
  pipelines: async () => (await import('../test/parity/pipelines.ts')).parityPipelines,
  weights: async () => (await import('../test/parity/weights.ts')).parityWeights,
  'weights-checkpoints': async () => (await import('../test/parity/weights-checkpoints.ts')).parityWeightsCheckpoints,
  prompts: async () => (await import('../test/parity/prompts.ts')).parityPrompts,
}

const [area = '', folder = ''] = process.argv.slice(2)
const load = areas[area]
if (load === undefined) {
  throw new Error(`Expected ${Object.keys(areas).join(', ')} for area but received ${JSON.stringify(area)}`)
}
const run = await load()
const { lines } = await run(folder)
process.stdout.write(`${lines.join('\n')}\n`)
