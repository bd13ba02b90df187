import { type ParityResult, Tally } from './tally.ts'
import { parityAdapters } from './weights-adapters.ts'
import { parityWeightsCheckpoints } from './weights-checkpoints.ts'

/** Runs the cases of lora/, lycoris/ and textual_inversion/ of weights/ of a pack. */
export async function parityWeightsAdapters(packDir: string): Promise<ParityResult> {
  const tally = new Tally('weights')
  await parityAdapters(packDir, tally)
  return tally.result()
}

/** Runs all cases of weights/ of a pack: single files, adapters and textual inversions. */
export async function parityWeights(packDir: string): Promise<ParityResult> {
  const parts = [await parityWeightsCheckpoints(packDir), await parityWeightsAdapters(packDir)]
  const sum = (key: 'cases' | 'passed' | 'failed' | 'notCovered'): number => parts.reduce((total, part) => total + part[key], 0)
  const [cases, passed, failed, notCovered] = [sum('cases'), sum('passed'), sum('failed'), sum('notCovered')]
  const worst = Math.max(...parts.map((part) => part.worst))
  const summary = `parity weights: ${cases} cases, ${passed} passed, ${failed} failed, ${notCovered} not covered, worst ${worst.toFixed(2)} of tolerance`
  const lines = [...parts.flatMap((part) => part.lines.slice(0, -1)), summary]
  return { area: 'weights', cases, passed, failed, notCovered, worst, lines }
}
