import { readFile } from 'node:fs/promises'
import test from 'ava'
import { AutoencoderKL, OutOfMemoryError, StableDiffusionPipeline, Tensor, UNet2DConditionModel } from 'node-diffusion'
import { native } from '../../ts/native.ts'

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
  // Unloading comes before tiles.
  const weights = pipe.unet.unloadableBytes + pipe.textEncoder.unloadableBytes
  const tiled = (await pipe.generate({ ...call, memory: whole.peak - weights - whole.decode.activations / 2 })).images[0]
  t.deepEqual([tiled.width, tiled.height], [256, 256])
  t.notDeepEqual(tiled.rgba(), free.rgba())
  await t.throwsAsync(pipe.generate({ ...call, memory: MIB }), { code: 'ERR_OUT_OF_MEMORY' })
  await t.throwsAsync(pipe.generate({ ...call, memory: -1 }), { code: 'ERR_INVALID_ARGUMENT' })
})

test.serial('a limit first unloads networks while they rest, which changes no bit, and reads them again', async (t) => {
  await using pipe = await StableDiffusionPipeline.fromPretrained()
  const call = { prompt, numInferenceSteps: 2, seed: 3 }
  const free = (await pipe.generate(call)).images[0]
  t.true(pipe.unet.isHeld && pipe.textEncoder.isHeld && pipe.vae.isHeld)
  const { peak } = await pipe.estimate()
  const text = pipe.textEncoder.unloadableBytes
  const other = (await pipe.generate({ ...call, prompt: 'another', memory: peak - text / 2 })).images[0]
  t.deepEqual([pipe.unet.isHeld, pipe.textEncoder.isHeld, pipe.vae.isHeld], [true, false, true])
  // Decoding holds most here: without the UNet it fits.
  const idle = (await pipe.generate({ ...call, memory: peak - text - pipe.unet.unloadableBytes / 2 })).images[0]
  t.deepEqual([pipe.unet.isHeld, pipe.textEncoder.isHeld], [false, false])
  t.deepEqual(idle.rgba(), free.rgba())
  t.notDeepEqual(other.rgba(), free.rgba())
  t.deepEqual((await pipe.generate(call)).images[0].rgba(), free.rgba())
})

test.serial('lazy loading reads headers, and weights with the first call', async (t) => {
  await using eager = await StableDiffusionPipeline.fromPretrained('shapes', { dtype: 'f16' })
  await using lazy = await StableDiffusionPipeline.fromPretrained('shapes', { dtype: 'f16', loading: 'lazy' })
  t.deepEqual([lazy.unet.isHeld, lazy.textEncoder.isHeld, lazy.vae.isHeld], [false, false, false])
  t.deepEqual(lazy.unet.config, eager.unet.config)
  t.is(lazy.unet.unloadableBytes, eager.unet.unloadableBytes)
  const call = { prompt, numInferenceSteps: 1, seed: 3 }
  t.deepEqual((await lazy.generate(call)).images[0].rgba(), (await eager.generate(call)).images[0].rgba())
  t.true(lazy.unet.isHeld)
  // @ts-expect-error: one of two words
  await t.throwsAsync(StableDiffusionPipeline.fromPretrained('shapes', { loading: 'later' }), { code: 'ERR_INVALID_ARGUMENT' })
})

test.serial('weights that are nowhere else are not unloaded', async (t) => {
  const config = {
    block_out_channels: [32],
    layers_per_block: 1,
    down_block_types: ['DownEncoderBlock2D'],
    up_block_types: ['UpDecoderBlock2D'],
  }
  await using vae = await AutoencoderKL.fromConfig(config, { seed: 1 })
  t.false(vae.canUnload)
  vae.unload()
  using latents = Tensor.zeros([1, 4, 8, 8])
  t.true(vae.isHeld)
  t.deepEqual((await vae.decode(latents)).sample.shape, [1, 3, 8, 8])
})

/** A published architecture of the benchmarks, shapes alone. */
async function published(component: string): Promise<Record<string, unknown>> {
  const text = await readFile(new URL(`../../benches/configs/sd15/${component}/config.json`, import.meta.url), 'utf8')
  return JSON.parse(text) as Record<string, unknown>
}

test.serial('a picture of 512x512 with Stable Diffusion 1.5 in bf16 needs no more memory than its largest layers', async (t) => {
  const meta = { device: 'meta', dtype: 'bf16' } as const
  await using unet = await UNet2DConditionModel.fromConfig(await published('unet'), meta)
  await using vae = await AutoencoderKL.fromConfig(await published('vae'), meta)
  using sample = Tensor.zeros([2, 4, 64, 64])
  using encoderHiddenStates = Tensor.zeros([2, 77, 768])
  using latents = Tensor.zeros([1, 4, 64, 64])
  // Winograd's weights are made in groups of 48 MiB, or of a panel (at most 12 MiB) for each thread; tiles take up to 40 MiB.
  const scratch = Math.max(48, 12 * native.doctor().threads) * MIB + 40 * MIB
  const step = await unet.forwardMemory(sample, 1, { encoderHiddenStates })
  // Residuals for the ascending half 69 MiB; the largest layer there reads 960 channels (30 MiB), keeps 20 of input and writes 10; keys and values of the prompt 4.
  t.true(step.activations < 150 * MIB + scratch, `${step.activations / MIB} MiB`)
  const decode = await vae.decodeMemory(latents)
  // The first block of 512x512 reads 256 channels (256 MiB, normalised in place), and holds its shortcut and its result of 128 channels each.
  t.true(decode.activations < 520 * MIB + scratch, `${decode.activations / MIB} MiB`)
  const direct = await unet.forwardMemory(sample, 1, { encoderHiddenStates, saveMemory: true })
  t.true(direct.activations < 150 * MIB, `${direct.activations / MIB} MiB`)
})
