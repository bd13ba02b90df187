import { setTimeout as wait } from 'node:timers/promises'
import test from 'ava'
import { AutoencoderKL, CLIPTokenizer, Generator, Tensor, UNet2DConditionModel } from '../../ts/index.ts'
import { longestBlock, MOST_BLOCKED_MS } from '../blocking.ts'

test.serial('loading, the UNet and the autoencoder leave the event loop free', async (t) => {
  t.timeout(600_000)
  await wait(200) // the test runner's own start
  const longest = await longestBlock(async () => {
    await using unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
    await using vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
    await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })
    const sample = new Generator(1).randn([2, 4, 16, 16])
    const encoderHiddenStates = Tensor.zeros([2, 77, 64])
    await Promise.all([1, 2, 3, 4].map((at) => unet.forward(sample, at, { encoderHiddenStates })))
    await vae.decode(sample)
  })
  t.log(`longest block ${longest.toFixed(1)} ms`)
  t.true(longest < MOST_BLOCKED_MS)
})

test.serial('small arithmetic does not wait for big work', async (t) => {
  t.timeout(600_000)
  await using unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
  const noise = new Generator(1).randn([1, 4, 128, 128])
  const longest = await longestBlock(async () => {
    const running = unet.forward(new Generator(1).randn([1, 4, 48, 48]), 1, { encoderHiddenStates: Tensor.zeros([1, 77, 64]) })
    for (let i = 0; i < 20; i += 1) {
      Tensor.linearCombination([
        [0.5, noise],
        [0.5, noise],
      ]).dispose()
      await wait(1)
    }
    await running
  })
  t.log(`longest block ${longest.toFixed(1)} ms`)
  t.true(longest < MOST_BLOCKED_MS)
})

const STEPS = 12

test('calls of several generations take turns', async (t) => {
  await using unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
  const sample = new Generator(1).randn([1, 4, 16, 16])
  const encoderHiddenStates = Tensor.zeros([1, 77, 64])
  const done: [number, number] = [0, 0]
  let furthest = 0
  const generation = async (which: 0 | 1): Promise<void> => {
    for (let step = 0; step < STEPS; step += 1) {
      await unet.forward(sample, step, { encoderHiddenStates })
      done[which] += 1
      furthest = Math.max(furthest, Math.abs(done[0] - done[1]))
    }
  }
  await Promise.all([generation(0), generation(1)])
  // A starved event loop hears of what ended in another order; if one waited for the other to end, they would be all steps apart.
  t.true(furthest < STEPS / 2, `${furthest} steps apart`)
})
