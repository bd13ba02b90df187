import test from 'ava'
import { parityPack } from './pack.ts'
import { paritySchedulers } from './schedulers.ts'

test('schedulers give the timesteps, sigmas and samples of the parity pack', async (t) => {
  t.timeout(600_000)
  const { failed, cases, lines } = await paritySchedulers(parityPack())
  t.true(cases > 0)
  t.is(failed, 0, lines.join('\n'))
})
