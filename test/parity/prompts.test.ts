import test from 'ava'
import { parityPack } from './pack.ts'
import { parityPrompts } from './prompts.ts'

test('brackets, chunks and weighted embeddings give the values of the parity pack', async (t) => {
  t.timeout(600_000)
  const { passed, failed, lines } = await parityPrompts(parityPack())
  t.true(passed > 0)
  t.is(failed, 0, lines.join('\n'))
})
