import test from 'ava'
import { parityPack } from './pack.ts'
import { parityPipelines } from './pipelines.ts'

test('whole pipelines and image processors give the values of the parity pack', async (t) => {
  t.timeout(600_000)
  const { passed, failed, lines } = await parityPipelines(parityPack())
  t.true(passed > 0)
  t.is(failed, 0, lines.join('\n'))
})
