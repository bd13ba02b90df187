import { parentPort } from 'node:worker_threads'

/** Runs in a worker thread: generates picture after picture until the thread is ended. */
const { StableDiffusionPipeline } = await import(new URL('../../ts/index.ts', import.meta.url).href)
const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
for (;;) {
  const job = pipe.generate({ prompt: 'a star', numInferenceSteps: 50, seed: 1 })
  for await (const { type } of job) {
    parentPort?.postMessage(type)
  }
}
