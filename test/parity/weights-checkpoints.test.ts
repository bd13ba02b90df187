import test from 'ava'
import { parityPack } from './pack.ts'
import { parityWeightsCheckpoints } from './weights-checkpoints.ts'

test('single files load, convert and come back as diffusers does', async (t) => {
  t.timeout(600_000)
  const { passed, failed, lines } = await parityWeightsCheckpoints(parityPack())
  t.true(passed > 0)
  t.is(failed, 0, lines.join('\n'))
})
