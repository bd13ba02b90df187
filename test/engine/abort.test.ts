import test from 'ava'
import { Dice } from '../judge/random.ts'
import { growthOver, LIMIT } from './memory.ts'

const { AbortError, StableDiffusionPipeline } = await import('../../ts/index.ts')
const options = { prompt: 'a red circle on a blue background', numInferenceSteps: 4, width: 64, height: 64, seed: 1 } as const

test('an abort at any moment, 200 times, leaves the pipeline usable and the memory flat', async (t) => {
  t.timeout(600_000)
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
  await pipe.generate(options)
  const began = performance.now()
  const expected = (await pipe.generate(options)).images[0].data
  let whole = performance.now() - began
  const dice = new Dice(9)
  let aborted = 0
  const round = async (): Promise<void> => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const timer = setTimeout(() => controller.abort(reason), dice.between(0, 1.2 * whole)) // some runs go to their end
    const started = performance.now()
    try {
      await pipe.generate(options, { signal: controller.signal })
      whole = performance.now() - started // that of the first run may be twice as long, where the host stopped it
    } catch (error) {
      aborted += 1
      t.true(error instanceof AbortError && error.cause === reason, String(error))
    } finally {
      clearTimeout(timer)
    }
  }
  const growth = await growthOver(200, round)
  t.log(`${aborted} of 200 stopped before the end, ${growth.toFixed(1)} MB more`)
  t.true(aborted > 50, `${aborted}`)
  t.true(growth < LIMIT, `${growth} MB`)
  t.deepEqual(Buffer.from((await pipe.generate(options)).images[0].data), Buffer.from(expected))
})
