import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  ControlNetModel,
  controlNet,
  enlarge,
  enlargedSize,
  hiresFix,
  Image,
  InvalidArgumentError,
  type LatentFilter,
  mapTiles,
  parseParameters,
  resizeLatents,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionPipeline,
  Tensor,
  upscale,
} from '../../ts/index.ts'
import { tileStarts } from '../../ts/upscale/tiles.ts'
import { modelFolder } from '../families/goldens.ts'
import { parityPack } from '../parity/pack.ts'

const pipe = await StableDiffusionPipeline.fromPretrained()
test.after.always(() => pipe.dispose())

/** Colours that change slowly, so that blending shows. */
function slopes(width: number, height: number): Image {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const at = Math.trunc(i / 3)
    return [Math.trunc(((at % width) / width) * 255), Math.trunc((Math.trunc(at / width) / height) * 255), 128][i % 3] ?? 0
  })
  return new Image({ width, height, data, seed: 7 })
}

const far = (a: Image, b: Image): number => a.data.reduce((most, value, i) => Math.max(most, Math.abs(value - (b.data[i] ?? 0))), 0)

test('latents are resized as torch does', async (t) => {
  const stored = await Tensor.loadSafetensors(fileURLToPath(new URL('../fixtures/upscale/resize-latents.safetensors', import.meta.url)))
  const latents = stored.latents as Tensor
  const names = Object.keys(stored).filter((name) => name !== 'latents')
  t.is(names.length, 18)
  for (const name of names) {
    const [filter, height, width] = name.split(' ') as [LatentFilter, string, string]
    const found = await resizeLatents(latents, { height: Number(height), width: Number(width) }, filter)
    const distance = found
      .sub(stored[name] as Tensor)
      .abs()
      .max()
      .item()
    t.true(distance < 1e-5, `${name}: ${distance}`) // f32 weights there, f64 here; values up to 3
  }
})

test('a picture grows by Lanczos and shrinks by areas, to multiples of 8', async (t) => {
  t.deepEqual(enlargedSize({ width: 100, height: 50 }, 1.5), { width: 144, height: 72 })
  const image = slopes(40, 24)
  const large = await enlarge(image, 2)
  t.deepEqual([large.width, large.height, large.seed], [80, 48, 7])
  const small = await enlarge(image, 0.5)
  t.deepEqual([small.width, small.height], [16, 8])
  t.deepEqual((await enlarge(image, 0)).data, image.data)
  await t.throwsAsync(enlarge(image, Number.NaN), { instanceOf: InvalidArgumentError, message: /factor/ })
})

test('tiles cover a picture evenly, and blend back to it', async (t) => {
  t.deepEqual(tileStarts(100, 64, 16), [0, 36])
  t.deepEqual(tileStarts(64, 64, 16), [0])
  t.deepEqual(tileStarts(160, 64, 16), [0, 48, 96])
  const image = slopes(100, 70)
  let calls = 0
  const same = await mapTiles(
    image,
    async (tile) => {
      calls += 1
      t.deepEqual([tile.width, tile.height], [64, 64])
      return tile
    },
    { size: 64, overlap: 16 },
  )
  t.is(calls, 4)
  t.true(far(same, image) <= 1) // rounding of weighted means
  await t.throwsAsync(
    mapTiles(image, async (tile) => tile, { size: 60 }),
    { instanceOf: InvalidArgumentError, message: /multiple of 8/ },
  )
})

test('two rounds enlarge one after the other, as by hand', async (t) => {
  const small = slopes(64, 64)
  const common = { prompt: 'a red circle on a blue background', numInferenceSteps: 4, strength: 0.5, seed: 3 }
  const done: number[] = []
  const image = await upscale(pipe, small, {
    ...common,
    rounds: [{ factor: 1.5 }, { factor: 1.34, strength: 0.25 }],
    onProgress: ({ round }) => done.push(round),
  })
  t.deepEqual([image.width, image.height], [128, 128])
  t.deepEqual(done, [1, 2])
  const img2img = StableDiffusionImg2ImgPipeline.fromPipe(pipe)
  const first = await img2img.generate({ ...common, guidanceScale: 7.5, image: await enlarge(small, 1.5) })
  const second = await img2img.generate({ ...common, guidanceScale: 7.5, strength: 0.25, image: await enlarge(first.images[0], 1.34) })
  t.deepEqual(image.data, second.images[0].data)
  t.false(pipe.disposed)
})

test('tile by tile gives the whole size', async (t) => {
  const tiles: number[] = []
  const image = await upscale(pipe, slopes(64, 96), {
    prompt: 'a red circle on a blue background',
    numInferenceSteps: 4,
    seed: 3,
    rounds: [{ factor: 2 }],
    tile: { size: 128, overlap: 32 },
    onProgress: ({ tile, tiles: all }) => tiles.push(tile, all),
  })
  t.deepEqual([image.width, image.height], [128, 192])
  t.deepEqual(tiles, [1, 2, 2, 2])
  t.is(image.seed, 3)
  t.like(image.parameters, { prompt: 'a red circle on a blue background', seed: 3, width: 128, height: 192, tile: 128 })
})

test('tiles of one picture share a seed that nobody gave', async (t) => {
  const flat = { width: 96, height: 64, data: new Uint8Array(96 * 64 * 3).fill(128) }
  const common = { prompt: 'a red circle on a blue background', numInferenceSteps: 2, strength: 0.5, rounds: [{ factor: 1 }] }
  const first = await upscale(pipe, flat, { ...common, tile: { size: 64, overlap: 0 } })
  const again = await upscale(pipe, flat, { ...common, seed: Number(first.seed), tile: { size: 64, overlap: 0 } })
  t.deepEqual(again.data, first.data)
})

test('tile control holds a round to its picture, whole or tile by tile', async (t) => {
  await using tiny = await StableDiffusionPipeline.fromPretrained(join(parityPack(), 'pipelines', 'tiny-sd15'))
  await using net = await ControlNetModel.fromPretrained(modelFolder('controlnet'))
  const small = slopes(16, 16)
  const common = { prompt: 'a red cat', numInferenceSteps: 4, seed: 3 }
  const held = await upscale(tiny, small, { ...common, tileControl: net })
  const image = await enlarge(small, 2)
  const img2img = StableDiffusionImg2ImgPipeline.fromPipe(tiny)
  const settings = { ...common, image, strength: 0.8, guidanceScale: 7 }
  const byHand = await img2img.generate({ ...settings, conditions: [controlNet(net, { image })] })
  t.deepEqual(held.data, byHand.images[0].data)
  const free = await img2img.generate(settings)
  t.true(far(held, free.images[0]) > 2, 'the control has no effect')
  const tiles = { tileControl: net, tile: { size: 24, overlap: 8 }, strength: 0.5 }
  const tiled = await upscale(tiny, small, { ...common, ...tiles })
  t.deepEqual([tiled.width, tiled.height], [32, 32])
})

test('hires fix works over the large picture and says so in the metadata', async (t) => {
  const options = { prompt: 'a red circle on a blue background', numInferenceSteps: 6, seed: 3, height: 64, width: 64 }
  const steps: string[] = []
  const job = hiresFix(pipe, { ...options, hires: { scale: 1.5, denoisingStrength: 0.5, steps: 3 } })
  for await (const event of job) {
    if (event.type === 'step') {
      steps.push(`${event.step}/${event.total}`)
    }
  }
  const { images, seeds } = await job
  t.deepEqual([images[0].width, images[0].height, seeds], [96, 96, [3]])
  t.is(steps.at(-1)?.split('/')[1], String(steps.filter((step) => step.endsWith(steps.at(-1)?.slice(-2) ?? '')).length))
  const parameters = await parseParameters(await images[0].png())
  t.deepEqual([parameters.numInferenceSteps, parameters.strength, parameters.hiresScale, parameters.hiresUpscaler], [6, 0.5, 1.5, 'Latent'])
  const pixels = await hiresFix(pipe, { ...options, hires: { upscaler: 'Lanczos', steps: 2 } })
  t.is(pixels.images[0].width, 128)
})

test('the second pass is image to image from enlarged latents', async (t) => {
  const options = { prompt: 'a red circle on a blue background', numInferenceSteps: 4, seed: 3, height: 64, width: 64 }
  const { images } = await hiresFix(pipe, { ...options, hires: { denoisingStrength: 0.5 } })
  const { latents } = await pipe.generate({ ...options, outputType: 'latent' })
  const [rows = 0, columns = 0] = latents.shape.slice(2)
  const image = await resizeLatents(latents, { height: rows * 2, width: columns * 2 })
  const { height: _h, width: _w, ...common } = options
  const byHand = await StableDiffusionImg2ImgPipeline.fromPipe(pipe).generate({ ...common, image, numInferenceSteps: 8, strength: 4.5 / 8 })
  t.deepEqual(images[0].data, byHand.images[0].data)
})

test('bad options are refused before any work', async (t) => {
  const refuses = async (hires: object, message: RegExp): Promise<void> => {
    await t.throwsAsync(Promise.resolve(hiresFix(pipe, { prompt: 'a', hires })), { instanceOf: InvalidArgumentError, message })
  }
  await refuses({ scale: 0 }, /hires\.scale/)
  await refuses({ upscaler: 'ESRGAN' }, /hires\.upscaler/)
  await refuses({ denoisingStrength: 2 }, /hires\.denoisingStrength/)
  const image = slopes(16, 16)
  await t.throwsAsync(upscale(pipe, image, { prompt: 'a', rounds: [] }), { instanceOf: InvalidArgumentError, message: /rounds/ })
  await t.throwsAsync(upscale(pipe, image, { prompt: 'a', rounds: [{ factor: -1 }] }), {
    instanceOf: InvalidArgumentError,
    message: /factor/,
  })
  const control = { prompt: 'a', tileControl: {} as never }
  await t.throwsAsync(upscale(pipe, image, control), { instanceOf: InvalidArgumentError, message: /ControlNetModel for tileControl/ })
})
