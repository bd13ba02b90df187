import test from 'ava'
import {
  blur,
  blurMask,
  ConfigError,
  canny,
  detectorFor,
  featherMask,
  Generator,
  growMask,
  Image,
  InvalidArgumentError,
  inpaintCondition,
  invert,
  invertMask,
  preprocessors,
  shuffle,
  softEdge,
  tile,
} from '../../ts/index.ts'

/** A white disk on black. */
function disk(width = 64, height = 48, radius = 12): Image {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const at = Math.trunc(i / 3)
    return ((at % width) - width / 2) ** 2 + (Math.trunc(at / width) - height / 2) ** 2 < radius ** 2 ? 255 : 0
  })
  return new Image({ width, height, data })
}

const whites = ({ data }: Image): number => data.filter((value) => value === 255).length

test('every preprocessor by name gives a picture of the same size', async (t) => {
  for (const kind of Object.keys(preprocessors)) {
    const detector = detectorFor(kind)
    t.is(detector.kind, kind)
    const { width, height } = await detector.detect(disk())
    t.deepEqual([width, height], [64, 48], kind)
  }
})

test('detectResolution brings the shorter side to it, in multiples of 64', async (t) => {
  const { width, height } = await canny(disk(60, 48), { detectResolution: 128 })
  t.deepEqual([width, height], [128, 128]) // 60 x 128 / 48 = 160 is 2.5 times 64, and half goes to the even number
})

test('edges of a disk lie on its border', async (t) => {
  const edges = await canny(disk())
  const far = Array.from({ length: 64 * 48 }, (_, at) => Math.hypot((at % 64) - 32, Math.trunc(at / 64) - 24))
  t.true(whites(edges) > 0)
  t.true(far.every((distance, at) => edges.data[at * 3] === 0 || Math.abs(distance - 12) < 2))
  t.true((await softEdge(disk())).data.some((value) => value > 0))
})

test('transparency counts as white', async (t) => {
  const clear = { width: 8, height: 8, channels: 4 as const, data: new Uint8Array(8 * 8 * 4) }
  t.true((await invert(clear)).data.every((value) => value === 0))
})

test('tile and blur take detail away and keep the mean', async (t) => {
  const mean = ({ data }: Image): number => data.reduce((sum, value) => sum + value, 0) / data.length
  for (const soft of [await tile(disk(), { downSampling: 4 }), await blur(disk(), { radius: 3 })]) {
    t.true(whites(soft) < whites(disk()))
    t.true(Math.abs(mean(soft) - mean(disk())) < 2)
  }
  t.deepEqual((await tile(disk())).data, disk().data)
})

test('shuffling is a matter of the generator', async (t) => {
  const [a, b, c] = await Promise.all([1, 1, 2].map((seed) => shuffle(disk(), { scale: 16, generator: new Generator(seed) })))
  t.deepEqual(a?.data, b?.data)
  t.notDeepEqual(a?.data, c?.data)
})

test('masks grow, shrink, blur, fade and turn around', async (t) => {
  const mask = disk()
  t.true(whites(await growMask(mask, 2)) > whites(mask))
  t.true(whites(await growMask(mask, -2)) < whites(mask))
  t.is(whites(await invertMask(mask)), mask.data.length - whites(mask))
  const feathered = await featherMask(mask, 6)
  t.true(mask.data.every((value, i) => (feathered.data[i] ?? 0) >= value))
  t.true(feathered.data.some((value) => value > 0 && value < 255))
  t.true((await blurMask(mask, 2)).data.some((value) => value > 0 && value < 255))
})

test('the condition of ControlNet Inpaint is -1 under the mask', async (t) => {
  const condition = await inpaintCondition(await invert(disk()), disk())
  t.deepEqual([...condition.shape], [1, 3, 48, 64])
  t.deepEqual([condition.min().item(), condition.max().item()], [-1, 1])
  await t.throwsAsync(inpaintCondition(disk(), disk(32, 32)), { instanceOf: InvalidArgumentError, message: /64 x 48 pixels for mask/ })
})

test('learned detectors say what is missing', (t) => {
  for (const name of ['openpose', 'normalbae', 'lineart', 'hed', 'mlsd', 'depth']) {
    t.throws(() => detectorFor(name), { instanceOf: ConfigError, message: new RegExp(name) })
  }
  t.throws(() => detectorFor('cany'), { instanceOf: InvalidArgumentError, message: /canny/ })
})

test('bad options are named', async (t) => {
  await t.throwsAsync(canny(disk(), { lowThreshold: Number.NaN }), { instanceOf: InvalidArgumentError, message: /lowThreshold/ })
  await t.throwsAsync(canny(disk(), { detectResolution: 7 }), { instanceOf: InvalidArgumentError, message: /detectResolution/ })
  await t.throwsAsync(growMask(disk(), 1.5), { instanceOf: InvalidArgumentError, message: /pixels/ })
  await t.throwsAsync(shuffle(disk(), { generator: 3 as never }), { instanceOf: InvalidArgumentError, message: /generator/ })
})
