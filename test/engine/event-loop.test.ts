import test from 'ava'
import { Generator, StableDiffusionPipeline, toImages } from '../../ts/index.ts'
import { longestBlock, MOST_BLOCKED_MS } from '../blocking.ts'

const prompt = 'a red circle on a blue background'

test.before(async () => {
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes') // loads and compiles the modules
  await pipe.generate({ prompt, numInferenceSteps: 1, preview: true })
})

test.serial('the event loop turns while a pipeline loads, generates and decodes', async (t) => {
  t.timeout(600_000)
  let pipe: StableDiffusionPipeline | undefined
  t.teardown(() => pipe?.dispose())
  const blocks = {
    load: await longestBlock(async () => {
      pipe?.dispose()
      pipe = await StableDiffusionPipeline.fromPretrained('shapes')
    }),
    generate: await longestBlock(async () => pipe?.generate({ prompt, numInferenceSteps: 25, seed: 1, preview: true })),
    batch: await longestBlock(async () => pipe?.generate({ prompt, numInferenceSteps: 3, seed: 1, numImagesPerPrompt: 8 })),
    decode: await longestBlock(async () => {
      const sample = await pipe?.vae.decode(new Generator(1).randn([1, 4, 64, 64]))
      return sample && toImages(sample.sample)
    }),
  }
  const told = Object.entries(blocks)
    .map(([name, ms]) => `${name} ${ms.toFixed(1)}`)
    .join(', ')
  t.log(`longest block in ms: ${told}`)
  t.true(
    Object.values(blocks).every((ms) => ms < MOST_BLOCKED_MS),
    told,
  )
})

test.serial('the measure notices a loop that is blocked', async (t) => {
  const longest = await longestBlock(async () => {
    await new Promise((resolve) => setTimeout(resolve, 20))
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1000) // twice as long as a host stops a thread, which is taken off
    await new Promise((resolve) => setTimeout(resolve, 20))
  })
  t.true(longest > MOST_BLOCKED_MS, `${longest}`)
})
