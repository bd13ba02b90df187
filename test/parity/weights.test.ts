import test from 'ava'
import { parityPack } from './pack.ts'
import { parityWeightsAdapters } from './weights.ts'

test('adapters and textual inversions give the values of the parity pack', async (t) => {
  t.timeout(600_000)
  const { passed, failed, lines } = await parityWeightsAdapters(parityPack())
  t.true(passed > 0)
  t.is(failed, 0, lines.join('\n'))
})
