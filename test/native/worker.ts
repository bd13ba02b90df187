import { parentPort, workerData } from 'node:worker_threads'

/** Runs in a worker thread: loads the addon there and starts work that takes long, or one short call. */
const { CLIPTextModel, Generator, Tensor, UNet2DConditionModel } = await import(new URL('../../ts/index.ts', import.meta.url).href)

if (workerData === 'short') {
  const encoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
  const { lastHiddenState } = await encoder.forward(Tensor.from([[49406, 49407]], undefined, 'i64'))
  parentPort?.postMessage(lastHiddenState.shape)
} else {
  const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
  const sample = new Generator(1).randn([1, 4, 48, 48])
  const forward = () => unet.forward(sample, 1, { encoderHiddenStates: Tensor.zeros([1, 77, 64]) })
  await forward()
  const begun = performance.now()
  await forward()
  const calls = Array.from({ length: 400 }, forward)
  parentPort?.postMessage(performance.now() - begun)
  await Promise.all(calls)
}
