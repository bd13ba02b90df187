import test from 'ava'
import { type Image, StableDiffusionPipeline } from '../../ts/index.ts'

const prompts = ['a red circle', 'a blue square', 'a green star', 'a pink ring', 'an orange cross']
const samplers = ['DDIM', 'DPM++ 2M', 'Euler a', 'UniPC', 'PNDM']

test('ten generations at once give the same pictures as one after the other', async (t) => {
  t.timeout(600_000)
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
  const calls = Array.from({ length: 10 }, (_, i) => ({
    prompt: `${prompts[i % 5]} on a white background`,
    scheduler: samplers[(i * 2) % 5] ?? 'DDIM',
    numInferenceSteps: 3 + (i % 4),
    guidanceScale: i % 3 === 0 ? 1 : 6,
    numImagesPerPrompt: 1 + (i % 2),
    width: 64 + 16 * (i % 3),
    height: 64,
    seed: i,
  }))
  const alone: (readonly Image[])[] = []
  for (const call of calls) {
    alone.push((await pipe.generate(call)).images)
  }
  const together = await Promise.all(calls.map(async (call) => (await pipe.generate(call)).images))
  together.forEach((images, i) => {
    t.is(images.length, alone[i]?.length ?? 0)
    images.forEach((image, n) => {
      t.deepEqual(Buffer.from(image.data), Buffer.from(alone[i]?.[n]?.data ?? []), `call ${i}, picture ${n}`)
    })
  })
})
