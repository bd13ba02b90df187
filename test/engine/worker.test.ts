import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { StableDiffusionPipeline } from '../../ts/index.ts'

const options = { prompt: 'a red circle on a blue background', numInferenceSteps: 3, width: 64, height: 64, seed: 1 } as const

/** Loads TypeScript in the thread, then the program. */
const start = (): Worker => {
  const program = JSON.stringify(new URL('worker.ts', import.meta.url).href)
  return new Worker(`import('tsx/esm/api').then(({ register }) => { register(); return import(${program}) })`, { eval: true })
}

test('a thread that is ended while it generates takes nothing with it', async (t) => {
  t.timeout(600_000)
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
  const expected = Buffer.from((await pipe.generate(options)).images[0].data)
  for (const events of [1, 2, 5]) {
    const worker = start()
    for (let i = 0; i < events; i++) {
      await once(worker, 'message')
    }
    const during = pipe.generate(options)
    await worker.terminate()
    t.deepEqual(Buffer.from((await during).images[0].data), expected)
    t.deepEqual(Buffer.from((await pipe.generate(options)).images[0].data), expected)
  }
})
