import { Worker } from 'node:worker_threads'

/** A worker thread that runs a TypeScript module. */
export function startWorker(module: URL, workerData?: string): Worker {
  const run = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(module.href)}) })`
  return new Worker(run, { eval: true, workerData })
}
