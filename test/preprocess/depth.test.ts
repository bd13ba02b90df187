import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import type { Pixels } from '../../ts/image/pixels.ts'
import { ConfigError, DepthDetector, DisposedError, DPTForDepthEstimation, InvalidArgumentError, Tensor } from '../../ts/index.ts'

const folder = fileURLToPath(new URL('../fixtures/depth/', import.meta.url))

/** Largest distance, as a share of the largest value. */
function distance(actual: Tensor, wanted: Tensor): number {
  return actual.sub(wanted).abs().max().item() / Math.max(1, wanted.abs().max().item())
}

for (const variant of ['project', 'add', 'ignore', 'hybrid']) {
  test(`a DPT of the variant '${variant}' gives transformers’ depth`, async (t) => {
    await using model = await DPTForDepthEstimation.fromPretrained(`${folder}${variant}`)
    const io = await Tensor.loadSafetensors(`${folder}${variant}/io.safetensors`)
    for (const name of variant === 'hybrid' ? ['trained'] : ['trained', 'larger']) {
      const [pixels, wanted] = [io[`${name}/pixel_values`], io[`${name}/predicted_depth`]] as [Tensor, Tensor]
      const { predictedDepth } = await model.forward(pixels)
      t.deepEqual([...predictedDepth.shape], [...wanted.shape])
      const far = distance(predictedDepth, wanted)
      t.true(far < 1e-4, `${name}: ${far}`) // f32 sums in another order; the pack's tolerance of a network
    }
  })
}

test('the detector prepares pictures and returns depth as transformers does', async (t) => {
  await using detector = await DepthDetector.fromPretrained(`${folder}project`)
  const io = await Tensor.loadSafetensors(`${folder}detector.safetensors`)
  const { picture, pixel_values, depth } = io as Record<'picture' | 'pixel_values' | 'depth', Tensor>
  const pixels: Pixels = { width: 50, height: 40, channels: 3, data: picture.toArray() as Uint8Array }
  const input = await detector.preprocess(pixels)
  t.true(input.sub(pixel_values).abs().max().item() <= 2 / 255 + 1e-6) // torchvision resizes in floats and rounds, Pillow in fixed point: one level
  const plane = await detector.depth(pixels)
  const found = Tensor.from(plane.data, [plane.height, plane.width])
  const far = distance(found, depth)
  t.true(far < 0.02, String(far)) // follows from the one level above
  const image = await detector.detect(pixels)
  t.deepEqual([image.width, image.height], [50, 40])
  t.deepEqual([Math.min(...image.data), Math.max(...image.data)], [0, 255])
})

test('bad models and inputs are named', async (t) => {
  const config = JSON.parse(await readFile(`${folder}project/config.json`, 'utf8')) as Record<string, unknown>
  const refused = async (changes: object, message: RegExp): Promise<void> => {
    const made = DPTForDepthEstimation.fromWeights({ ...config, ...changes } as never, {})
    await t.throwsAsync(made, { instanceOf: ConfigError, message })
  }
  await refused({ is_hybrid: true, neck_ignore_stages: [0, 1] }, /patch_size/)
  await refused({ is_hybrid: true, backbone_config: { model_type: 'swin' } }, /model_type/)
  await refused({ backbone_config: { model_type: 'dinov2' } }, /backbone_config/)
  const model = await DPTForDepthEstimation.fromPretrained(`${folder}project`)
  await t.throwsAsync(model.forward(Tensor.zeros([1, 3, 30, 32])), { instanceOf: InvalidArgumentError, message: /multiples of 8/ })
  model.dispose()
  await t.throwsAsync(model.forward(Tensor.zeros([1, 3, 32, 32])), { instanceOf: DisposedError })
  t.throws(() => new DepthDetector({} as never), { instanceOf: InvalidArgumentError, message: /model/ })
})
