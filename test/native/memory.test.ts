import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import { growthOver, LIMIT } from '../engine/memory.ts'

const { AutoencoderKL, Tensor, UNet2DConditionModel } = await import('../../ts/index.ts')

const MB = 2 ** 20
const resident = (): number => process.memoryUsage.rss() / MB

async function round(): Promise<void> {
  await using unet = await UNet2DConditionModel.fromPretrained('shapes', { subfolder: 'unet' })
  await using vae = await AutoencoderKL.fromPretrained('shapes', { subfolder: 'vae' })
  using latents = Tensor.zeros([1, 4, 8, 8])
  using encoderHiddenStates = Tensor.zeros([1, 77, 64])
  using noise = (await unet.forward(latents, 1, { encoderHiddenStates })).sample
  using picture = (await vae.decode(noise)).sample
  picture.toArray()
}

test.serial('loading, running and disposing again and again does not grow', async (t) => {
  t.timeout(600_000)
  for (let i = 0; i < 5; i += 1) {
    await round()
  }
  const growth = await growthOver(50, round)
  t.log(`${growth.toFixed(1)} MB over 50 rounds`)
  t.true(growth < LIMIT)
})

test.serial('tensors that nobody disposes are collected while the event loop turns', async (t) => {
  const before = resident()
  for (let i = 0; i < 300; i += 1) {
    Tensor.zeros([MB]).add(1)
    await setImmediate()
  }
  const growth = resident() - before
  t.log(`${growth.toFixed(0)} MB after 2400 MB of garbage`)
  t.true(growth < 1000, 'V8 was not told of native memory')
})
