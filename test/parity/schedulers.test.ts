import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { paritySchedulers } from './schedulers.ts'

const pack = [process.env.PARITY_DIR, '../../../shared/parity', '../fixtures/parity']
  .map((path) => (path === undefined || path === process.env.PARITY_DIR ? path : fileURLToPath(new URL(path, import.meta.url))))
  .find((path) => path !== undefined && existsSync(`${path}/schedulers`))

const run = pack === undefined ? test.skip : test

run('schedulers give the timesteps, sigmas and samples of the parity pack', async (t) => {
  const { failed, cases, lines } = await paritySchedulers(pack ?? '')
  t.true(cases > 0)
  t.is(failed, 0, lines.join('\n'))
})
