import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { Image, imageGrid, imageStrip, loadImage, Tensor, toImages, VaeImageProcessor } from '../../ts/index.ts'
import { assertRefused, type Refusal, wrong } from './refusals.ts'

const invalid = 'ERR_INVALID_ARGUMENT'
const picture = fileURLToPath(new URL('../../examples/pictures/circle.png', import.meta.url))
const image = new Image({ width: 2, height: 2, data: new Uint8Array(12) })
const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-images-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

test('loadImage refuses what is no picture', async (t) => {
  const broken = join(scratch, 'broken.png')
  await writeFile(broken, Buffer.from('89504e470d0a1a0a0000', 'hex'))
  const empty = join(scratch, 'empty.png')
  await writeFile(empty, '')
  const raw = (pixels: object) => () => loadImage(wrong(pixels))
  const refusals: Refusal[] = [
    ['nothing', () => loadImage(wrong(undefined)), invalid, /for image but received undefined/],
    ['a number', () => loadImage(wrong(7)), invalid, /for image but received 7/],
    ['a missing file', () => loadImage('/nowhere/x.png'), invalid, /for image but received "\/nowhere\/x.png"/],
    ['a folder', () => loadImage(scratch), invalid, /folder/],
    ['an empty file', () => loadImage(empty), invalid, /empty/],
    ['half a PNG', () => loadImage(broken), invalid, /for image/],
    ['bytes of something else', () => loadImage(Buffer.from('hello')), invalid, /5 bytes/],
    ['a data URL without data', () => loadImage('data:image/png;base64'), invalid, /data URL/],
    ['more pixels than allowed', () => loadImage(picture, { maxPixels: 100 }), invalid, /100 pixels/],
    ['NaN as a limit', () => loadImage(picture, { maxPixels: Number.NaN }), invalid, /for maxPixels but received NaN/],
    ['pixels of no width', raw({ width: 0, height: 2, data: new Uint8Array(0) }), invalid, /for image\.width but received 0/],
    ['pixels that do not fill it', raw({ width: 2, height: 2, data: new Uint8Array(5) }), invalid, /for image\.data/],
    ['pixels as an array', raw({ width: 1, height: 1, data: [1, 2, 3] }), invalid, /for image\.data/],
    ['an aborted signal', () => loadImage(picture, { signal: AbortSignal.abort() }), 'ABORT_ERR', /aborted/],
  ]
  await assertRefused(t, refusals)
})

test('images refuse bad sizes, paths and qualities, and leave nothing behind', async (t) => {
  const refusals: Refusal[] = [
    ['a fractional width', () => new Image({ width: 1.5, height: 2, data: new Uint8Array(9) }), invalid, /for width but received 1\.5/],
    ['too few bytes', () => new Image({ width: 2, height: 2, data: new Uint8Array(3) }), invalid, /12 bytes of RGB for data/],
    ['an array as data', () => new Image({ width: 1, height: 1, data: wrong([1, 2, 3]) }), invalid, /for data/],
    ['an empty path', () => image.save(''), invalid, /for path but received ""/],
    ['a number as path', () => image.save(wrong(3)), invalid, /for path but received 3/],
    ['an unknown format', () => image.save(join(scratch, 'x.bmp')), invalid, /\.png.*x\.bmp/],
    ['a path below a file', () => image.save(join(picture, 'x.png')), invalid, /for path/],
    ['a quality of 0', () => image.jpeg({ quality: 0 }), invalid, /for quality but received 0/],
    ['a tensor of another shape', () => Image.fromTensor(Tensor.zeros([4, 8, 8])), invalid, /for tensor but received Tensor/],
    ['toImages of text', () => toImages(wrong('x')), invalid, /for tensor but received "x"/],
    ['toImages of latents', () => toImages(Tensor.zeros([1, 4, 8, 8])), invalid, /for tensor/],
    ['a grid of nothing', () => imageGrid([]), invalid, /for images but received \[\]/],
    ['a grid of tensors', () => imageGrid(wrong([Tensor.zeros([3, 8, 8])])), invalid, /for images/],
    ['a grid that is not filled', () => imageGrid([image], { rows: 2, cols: 2 }), invalid, /4 images/],
    ['a grid of no columns', () => imageGrid([image], { cols: 0 }), invalid, /for cols but received 0/],
    ['a strip of nothing', () => imageStrip([]), invalid, /for images/],
    ['a strip without images', () => imageStrip(wrong([{ title: 'a' }])), invalid, /for images/],
    ['a strip of text', () => imageStrip(wrong('a')), invalid, /for entries/],
  ]
  await assertRefused(t, refusals)
  t.deepEqual(
    (await readdir(scratch)).filter((name) => name.endsWith('.tmp')),
    [],
  )
})

test('the image processor refuses sizes and pictures that do not fit', async (t) => {
  const processor = new VaeImageProcessor()
  const refusals: Refusal[] = [
    ['an unknown filter', () => new VaeImageProcessor({ resample: wrong('cubic') }), invalid, /for resample but received "cubic"/],
    ['a factor of zero', () => new VaeImageProcessor({ vaeScaleFactor: 0 }), invalid, /for vaeScaleFactor but received 0/],
    ['no pictures', () => processor.preprocess([]), invalid, /for image but received \[\]/],
    ['a width below the factor', () => processor.preprocess(picture, { width: 4 }), invalid, /for width but received 4/],
    ['NaN as height', () => processor.preprocess(picture, { height: Number.NaN }), invalid, /for height but received NaN/],
    [
      'an unknown resize mode',
      () => processor.preprocess(picture, { resizeMode: wrong('pad') }),
      invalid,
      /for resizeMode but received "pad"/,
    ],
    ['pictures and tensors', () => processor.preprocess([picture, Tensor.zeros([3, 8, 8])]), invalid, /for image/],
    ['a tensor of rank 2', () => processor.preprocess(Tensor.zeros([8, 8])), invalid, /for image/],
    ['a black mask', () => processor.getCropRegion(image, 8, 8), invalid, /all black/],
    ['overlays of other sizes', () => processor.applyOverlay(picture, picture, image), invalid, /128 x 128.*2 x 2/],
    ['a negative blur', () => processor.blur(picture, -1), invalid, /for radius but received -1/],
  ]
  await assertRefused(t, refusals)
})
