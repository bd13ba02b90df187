import test from 'ava'
import { growthOver, LIMIT } from './memory.ts'

const { StableDiffusionPipeline } = await import('../../ts/index.ts')

test('loading, generating and disposing 100 times leaves the memory as it was', async (t) => {
  t.timeout(600_000)
  const round = async (seed: number): Promise<void> => {
    await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
    await pipe.generate({ prompt: 'a star', numInferenceSteps: 2, width: 64, height: 64, seed })
  }
  for (let i = 0; i < 30; i++) {
    await round(i)
  }
  const growth = await growthOver(100, round)
  t.log(`${growth.toFixed(1)} MB over 100 rounds`)
  t.true(growth < LIMIT, `${growth} MB`)
})
