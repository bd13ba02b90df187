import test from 'ava'
import { OutOfMemoryError, StableDiffusionPipeline } from 'node-diffusion'

const MIB = 2 ** 20
const prompt = 'a red circle on a blue background'

test.serial('an estimate grows with the picture and the batch, and counts what is loaded', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const [one, two, large] = [
    await pipe.estimate(),
    await pipe.estimate({ numImagesPerPrompt: 2 }),
    await pipe.estimate({ height: 512, width: 512 }),
  ]
  // The weights of the built-in model are 20 MB in f32.
  t.true(one.held > 15 * MIB, `${one.held}`)
  t.true(one.decode.activations > 3 * 4 * 128 * 128, `${one.decode.activations}`)
  t.true(two.denoise.activations > one.denoise.activations)
  // 16 times the pixels, and no score matrix, which would grow 256-fold.
  t.true(large.decode.activations > 8 * one.decode.activations && large.decode.activations < 20 * one.decode.activations)
  t.true(large.denoise.activations < 20 * one.denoise.activations)
  t.true(one.peak >= one.held + one.decode.activations)
})

test.serial('an estimate leaves nothing behind and draws nothing: the next picture is the same', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const call = { prompt, numInferenceSteps: 2, seed: 3 }
  const before = (await pipe.generate(call)).images[0]
  await pipe.estimate({ height: 256, width: 256 })
  const after = (await pipe.generate(call)).images[0]
  t.deepEqual(after.rgba(), before.rgba())
})

test.serial('a size beyond all memory is refused before work, naming the size and the bytes', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const error = await t.throwsAsync<OutOfMemoryError>(pipe.generate({ prompt, width: 16384, height: 16384, numImagesPerPrompt: 16 }))
  t.true(error instanceof OutOfMemoryError, String(error))
  t.regex(error.message, /^Expected 16 pictures within .* of memory for width and height but received 16384 x 16384, which take .*B$/)
})

test.serial('a limit makes the run decode in tiles or fail, and does nothing where all fits', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const call = { prompt, numInferenceSteps: 1, seed: 3, width: 256, height: 256 }
  const free = (await pipe.generate(call)).images[0]
  const roomy = (await pipe.generate({ ...call, memory: 64 * 1024 * MIB })).images[0]
  t.deepEqual(roomy.rgba(), free.rgba())
  const whole = await pipe.estimate({ width: 256, height: 256 })
  const tiled = (await pipe.generate({ ...call, memory: whole.peak - whole.decode.activations / 2 })).images[0]
  t.deepEqual([tiled.width, tiled.height], [256, 256])
  t.notDeepEqual(tiled.rgba(), free.rgba())
  await t.throwsAsync(pipe.generate({ ...call, memory: MIB }), { code: 'ERR_OUT_OF_MEMORY' })
  await t.throwsAsync(pipe.generate({ ...call, memory: -1 }), { code: 'ERR_INVALID_ARGUMENT' })
})
