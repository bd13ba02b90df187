import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import sharp from 'sharp'
import {
  Image,
  imageGrid,
  imageStrip,
  latentRgbFactors,
  latentsToRgb,
  loadImage,
  maskFromAlpha,
  Tensor,
  toImages,
  VaeImageProcessor,
} from '../../ts/index.ts'

const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-load-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

/** Two pixels wide, one high: red, blue. */
const pair = new Image({ width: 2, height: 1, data: Uint8Array.of(255, 0, 0, 0, 0, 255) })
const rgba = [255, 0, 0, 255, 0, 0, 255, 255]

test('the same picture in every form', async (t) => {
  const path = await pair.save(join(scratch, 'pair.png'))
  const bytes = await pair.png()
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/pair.png' ? 200 : 404
    response.end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const forms = {
    path,
    'file URL': pathToFileURL(path),
    'file URL as text': pathToFileURL(path).href,
    'http URL': `${base}/pair.png`,
    'data URL': await pair.toDataURL(),
    Buffer: bytes,
    Uint8Array: new Uint8Array(bytes),
    ArrayBuffer: new Uint8Array(bytes).buffer,
    Blob: new Blob([new Uint8Array(bytes)]),
    sharp: sharp(bytes),
    'raw RGB': { data: pair.data, width: 2, height: 1 },
    ImageData: { data: Uint8ClampedArray.from(rgba), width: 2, height: 1 },
    Image: pair,
    'decoded image': await loadImage(bytes),
  }
  for (const [name, form] of Object.entries(forms)) {
    const { width, height, data } = await loadImage(form)
    t.deepEqual([width, height, ...data], [2, 1, ...rgba], name)
  }
  await t.throwsAsync(loadImage(`${base}/other.png`), { code: 'ERR_INVALID_ARGUMENT', message: /404/ })
  await t.throwsAsync(loadImage(`${base}/pair.png`, { maxBytes: 10 }), { message: /larger than 10 bytes/ })
  await t.throwsAsync(loadImage(`${base}/pair.png`, { signal: AbortSignal.abort('stop') }), { code: 'ABORT_ERR' })
  server.close()
})

test('EXIF orientation is applied, grey and 16-bit become RGB, alpha is kept apart', async (t) => {
  const turned = await loadImage(await pair.toSharp().withMetadata({ orientation: 6 }).png().toBuffer())
  t.deepEqual([turned.width, turned.height, ...turned.data], [1, 2, ...rgba])
  const grey = await loadImage({ data: Uint8Array.of(9), width: 1, height: 1 })
  t.deepEqual([...grey.data], [9, 9, 9, 255])
  const deep = await sharp(Uint16Array.of(65535, 0, 0), { raw: { width: 1, height: 1, channels: 3 } })
    .toColourspace('rgb16')
    .png()
    .toBuffer()
  t.deepEqual([...(await loadImage(deep)).data], [255, 0, 0, 255])
  const clear = { data: Uint8Array.of(1, 2, 3, 0, 4, 5, 6, 255), width: 2, height: 1 }
  t.true((await loadImage(clear)).hasAlpha)
  t.deepEqual([...(await maskFromAlpha(clear)).data], [255, 255, 255, 0, 0, 0])
  t.false((await loadImage(pair)).hasAlpha)
})

test('tensors and pictures', async (t) => {
  t.deepEqual(Image.fromTensor(pair.toTensor()).data, pair.data)
  const [black, white] = await toImages(Tensor.from([-2, -1, -1, 1, 1, 2], [2, 3, 1, 1]))
  t.deepEqual([...(black?.data ?? []), ...(white?.data ?? [])], [0, 0, 0, 255, 255, 255])
  t.deepEqual([...((await toImages(Tensor.from([0.5], [1, 1, 1, 1]), { denormalize: false }))[0]?.data ?? [])], [128, 128, 128])
  const tiny = latentsToRgb(Tensor.zeros([2, 4, 3, 5]), latentRgbFactors.sd1)
  t.deepEqual([tiny.length, tiny[0]?.width, tiny[0]?.height, tiny[0]?.data[0]], [2, 5, 3, 128])
  t.throws(() => latentsToRgb(Tensor.zeros([1, 8, 3, 5])), { message: /\(B, 4, H, W\)/ })
})

test('grid and strip', async (t) => {
  const images = Array.from({ length: 3 }, (_, i) => new Image({ width: 1, height: 1, data: new Uint8Array(3).fill(i + 1) }))
  const grid = await imageGrid(images)
  t.deepEqual([grid.width, grid.height, ...grid.data], [2, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0])
  const row = await imageGrid(images, { rows: 1, cols: 3 })
  t.deepEqual([row.width, row.height], [3, 1])
  const strip = await imageStrip(
    [
      { title: 'a < b & "c"', image: pair },
      { title: '', image: pair },
    ],
    { gap: 2, fontSize: 8 },
  )
  t.deepEqual([strip.width, strip.height], [2 + 2 * 4, 20 + 1 + 2])
  t.deepEqual([...strip.data.subarray((20 * 10 + 2) * 3, (20 * 10 + 4) * 3)], [...pair.data])
})

test('only-masked inpainting: the box around the mask, and pasting back', async (t) => {
  const processor = new VaeImageProcessor()
  const mask = new Uint8Array(64 * 48)
  mask.fill(255, 10 * 64 + 20, 10 * 64 + 30)
  mask.fill(255, 11 * 64 + 20, 11 * 64 + 30)
  const grey = { data: mask, width: 64, height: 48 }
  t.deepEqual(await processor.getCropRegion(grey, 64, 64, 3), [17, 3, 33, 19])
  t.deepEqual(await processor.getCropRegion(grey, 64, 64, 100), [0, 0, 64, 48])
  await t.throwsAsync(processor.getCropRegion({ data: new Uint8Array(4), width: 2, height: 2 }, 8, 8), { message: /all black/ })
  const original = { data: new Uint8Array(64 * 48 * 3).fill(10), width: 64, height: 48 }
  const made = new Image({ width: 32, height: 32, data: new Uint8Array(32 * 32 * 3).fill(200), seed: 5 })
  const pasted = await processor.applyOverlay(grey, original, made, [17, 3, 33, 19])
  t.is(pasted.seed, 5)
  t.is(pasted.data.filter((value) => value === 200).length, 20 * 3)
  t.is(pasted.data.filter((value) => value === 10).length, (64 * 48 - 20) * 3)
  await t.throwsAsync(processor.applyOverlay(grey, original, made), { message: /64 x 48.*for image but received 32 x 32/ })
})

test('tensors go through preprocess by the nearest pixel; latents and normalised ones are left as they are', async (t) => {
  const processor = new VaeImageProcessor({ vaeScaleFactor: 2 })
  const tensor = Tensor.from([0, 0.5, 1, 0.25], [1, 1, 2, 2])
  const rgb = Tensor.cat([tensor, tensor, tensor], 1)
  t.deepEqual([...(await processor.preprocess(rgb)).slice(1, 0, 1).toArray()], [-1, 0, 1, -0.5])
  t.deepEqual([...(await processor.preprocess(rgb, { height: 4, width: 2 })).shape], [1, 3, 4, 2])
  t.deepEqual([...(await processor.preprocess(rgb.sub(1))).slice(1, 0, 1).toArray()], [-1, -0.5, 0, -0.75])
  const latents = Tensor.ones([1, 4, 3, 3])
  t.is(await processor.preprocess(latents).then((same) => same.shape.join()), '1,4,3,3')
  t.deepEqual([...(await processor.preprocessMask(tensor)).toArray()], [0, 1, 1, 0])
})
