import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import test from 'ava'
import { CLIPTextModel, Tensor } from '../../ts/index.ts'
import { startWorker } from '../start-worker.ts'

const start = (task: 'short' | 'long'): Worker => startWorker(new URL('worker.ts', import.meta.url), task)

test('the addon works in a worker thread', async (t) => {
  const worker = start('short')
  const [message] = await once(worker, 'message')
  t.deepEqual(message, [1, 2, 64])
  await worker.terminate()
})

test('ending a worker stops its work and harms nobody', async (t) => {
  t.timeout(600_000)
  const encoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
  const worker = start('long')
  const [oneCall] = await once(worker, 'message')
  const ended = performance.now()
  await worker.terminate()
  t.log(`terminated after ${(performance.now() - ended).toFixed(0)} ms`)
  const { lastHiddenState } = await encoder.forward(Tensor.from([[49406, 49407]], undefined, 'i64'))
  t.deepEqual(lastHiddenState.shape, [1, 2, 64])
  const taken = performance.now() - ended
  t.log(`one call took ${oneCall.toFixed(0)} ms, what was left after the end ${taken.toFixed(0)} ms`)
  // A call was short, or what was left long, where a host stopped one of them: far from 1 and from 400.
  t.true(taken < 100 * oneCall, 'the 400 calls of the ended worker were dropped')
})
