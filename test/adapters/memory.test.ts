import test from 'ava'
import { growthOver, LIMIT } from '../engine/memory.ts'

const { StableDiffusionPipeline, Tensor } = await import('../../ts/index.ts')
const { kohya } = await import('./sources.ts')

test('loading, running and unloading a LoRA and an embedding 100 times leaves the memory as it was', async (t) => {
  t.timeout(600_000)
  await using pipe = await StableDiffusionPipeline.fromPretrained('shapes')
  const { unet, tokenizer, textEncoder } = pipe
  const round = async (seed: number): Promise<void> => {
    await pipe.loadLoraWeights(kohya({ seed }), { adapterName: 'a' })
    await pipe.loadTextualInversion(Tensor.full([4, 64], 0.1), { token: 'fourfold' })
    await pipe.generate({ prompt: 'a star, fourfold', numInferenceSteps: 1, width: 32, height: 32, seed, outputType: 'latent' })
    pipe.unloadLoraWeights()
    pipe.unloadTextualInversion()
  }
  for (let i = 0; i < 30; i++) {
    await round(i)
  }
  const growth = await growthOver(100, round)
  t.log(`${growth.toFixed(1)} MB over 100 rounds`)
  t.true(growth < LIMIT, `${growth} MB`)
  t.is(pipe.unet, unet)
  t.is(pipe.tokenizer, tokenizer)
  t.is(pipe.textEncoder, textEncoder)
})
