import test from 'ava'
import { StableDiffusionPipeline } from '../../ts/index.ts'
import { growthOver } from './memory.ts'

test('loading, generating and disposing 100 times leaves the memory as it was', async (t) => {
  t.timeout(600_000)
  const round = async (seed: number): Promise<void> => {
    await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
    await pipe.generate({ prompt: 'a star', numInferenceSteps: 2, width: 64, height: 64, seed })
  }
  for (let i = 0; i < 10; i++) {
    await round(i)
  }
  const growth = await growthOver(100, round)
  t.log(`${growth.toFixed(1)} MB over 100 rounds`)
  t.true(growth < 20, `${growth} MB`)
})
