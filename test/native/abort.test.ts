import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { AbortError, CLIPTextModel, Generator, Tensor, UNet2DConditionModel } from '../../ts/index.ts'

const unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
const encoderHiddenStates = Tensor.zeros([1, 77, 64])
// Takes longer than a host stops this thread, which aborts.
const large = new Generator(1).randn([1, 4, 128, 128])

test('an aborted signal stops a call before it starts', async (t) => {
  const reason = new Error('enough')
  const error = await t.throwsAsync(unet.forward(large, 1, { encoderHiddenStates, signal: AbortSignal.abort(reason) }), {
    instanceOf: AbortError,
    code: 'ABORT_ERR',
  })
  t.is(error?.name, 'AbortError')
  t.is(error?.cause, reason)
})

test('a running call stops soon, and the model stays usable', async (t) => {
  const controller = new AbortController()
  const reason = new Error('enough')
  const running = unet.forward(large, 1, { encoderHiddenStates, signal: controller.signal })
  const refused = t.throwsAsync(running, { instanceOf: AbortError })
  await setImmediate()
  controller.abort(reason)
  t.is((await refused)?.cause, reason)
  const { sample } = await unet.forward(Tensor.zeros([1, 4, 16, 16]), 1, { encoderHiddenStates })
  t.deepEqual(sample.shape, [1, 4, 16, 16])
})

test('queued calls stop without running', async (t) => {
  const controller = new AbortController()
  const calls = Array.from({ length: 8 }, () => unet.forward(large, 1, { encoderHiddenStates, signal: controller.signal }))
  controller.abort()
  const settled = await Promise.allSettled(calls)
  t.true(settled.every((call) => call.status === 'rejected' && call.reason instanceof AbortError))
})

test('loading stops too', async (t) => {
  const controller = new AbortController()
  const loading = CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder', signal: controller.signal })
  controller.abort()
  await t.throwsAsync(loading, { instanceOf: AbortError })
})

test('no listener is left on a signal', async (t) => {
  const { signal } = new AbortController()
  let listeners = 0
  const { addEventListener, removeEventListener } = signal
  signal.addEventListener = (...given: Parameters<typeof addEventListener>) => {
    listeners += 1
    addEventListener.apply(signal, given)
  }
  signal.removeEventListener = (...given: Parameters<typeof removeEventListener>) => {
    listeners -= 1
    removeEventListener.apply(signal, given)
  }
  await unet.forward(Tensor.zeros([1, 4, 8, 8]), 1, { encoderHiddenStates, signal })
  t.is(listeners, 0)
})
