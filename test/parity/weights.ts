import { type ParityResult, Tally } from './tally.ts'
import { parityAdapters } from './weights-adapters.ts'

/** Runs the cases of weights/ of a pack: adapters and textual inversions. */
export async function parityWeights(packDir: string): Promise<ParityResult> {
  const tally = new Tally('weights')
  await parityAdapters(packDir, tally)
  return tally.result()
}
