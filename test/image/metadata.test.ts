import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { readExif, writeExif } from '../../ts/image/metadata/exif.ts'
import { formatParameters, type GenerationParameters, Image, parseParameters, readMetadata } from '../../ts/index.ts'

const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-metadata-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

const parameters: GenerationParameters = {
  prompt: 'a red circle, "quoted": (very:1.2) \\(round\\)\nsecond line',
  negativePrompt: 'blurry, 青い',
  numInferenceSteps: 25,
  guidanceScale: 7.5,
  seed: 7,
  width: 128,
  height: 96,
  scheduler: 'DPM++ 2M Karras',
  strength: 0.75,
  clipSkip: 1,
  model: 'my: model, v2',
}

function picture(made: GenerationParameters = parameters): Image {
  const data = Uint8Array.from({ length: 24 * 16 * 3 }, (_, i) => (i * 7) % 256)
  return new Image({ width: 24, height: 16, data, seed: 7, parameters: made })
}

test('the text is the web UI’s, field by field', (t) => {
  t.is(
    formatParameters(parameters),
    [
      'a red circle, "quoted": (very:1.2) \\(round\\)',
      'second line',
      'Negative prompt: blurry, 青い',
      'Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 7, Size: 128x96, Model: "my: model, v2", Denoising strength: 0.75, Clip skip: 2',
    ].join('\n'),
  )
})

test('the web UI’s own example is read', async (t) => {
  const text =
    'girl, ((eyeshadow)), intricate\nNegative prompt: ugly, [blurry]\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b'
  t.deepEqual(await parseParameters(text), {
    prompt: 'girl, ((eyeshadow)), intricate',
    negativePrompt: 'ugly, [blurry]',
    numInferenceSteps: 20,
    scheduler: 'Euler a',
    guidanceScale: 7,
    seed: 965400086,
    width: 512,
    height: 512,
    modelHash: '45dee52b',
  })
})

test('a text without fields is a prompt, and what it writes it reads', async (t) => {
  t.deepEqual(await parseParameters('just words\nand more'), { prompt: 'just words\nand more' })
  t.deepEqual(await parseParameters(formatParameters(parameters)), parameters)
})

for (const format of ['png', 'jpg', 'webp'] as const) {
  test(`${format}: parameters come back from the file, and other readers still open it`, async (t) => {
    const path = join(scratch, 'deep', 'er', `x.${format}`)
    t.is(await picture().save(path), path)
    t.deepEqual(await parseParameters(path), parameters)
    const { parameters: text, json } = await readMetadata(path)
    t.is(text, formatParameters(parameters))
    t.deepEqual(json, parameters)
    const { width, height } = await sharp(path, { failOn: 'warning' }).metadata()
    t.deepEqual([width, height], [24, 16])
  })
}

test('lossless formats keep every pixel beside the metadata', async (t) => {
  const image = picture()
  for (const file of [await image.png(), await image.webp({ lossless: true })]) {
    t.deepEqual(new Uint8Array(await sharp(file).removeAlpha().raw().toBuffer()), image.data)
  }
})

test('metadata can be left out, and a picture without parameters has none', async (t) => {
  t.deepEqual((await readMetadata(await picture().png({ metadata: false }))).texts, {})
  t.deepEqual((await readMetadata(await new Image({ width: 1, height: 1, data: new Uint8Array(3) }).png())).texts, {})
})

test('a JPEG whose JSON does not fit keeps the text, or else the picture alone', async (t) => {
  const long = 'x'.repeat(20_000)
  const kept = await readMetadata(await picture({ prompt: long, note: 'y'.repeat(60_000) }).jpeg())
  t.true(kept.parameters?.startsWith(long))
  t.is(kept.json, undefined)
  t.is((await readMetadata(await picture({ prompt: 'x'.repeat(70_000) }).jpeg())).parameters, undefined)
})

test('Latin-1 text is a tEXt chunk, other text an iTXt chunk, as Pillow writes them', async (t) => {
  const latin = await picture({ prompt: 'café' }).png()
  t.true(latin.includes('tEXtparameters\0caf\u00e9', 0, 'latin1'))
  const other = await picture({ prompt: '青' }).png()
  t.true(other.includes('iTXtparameters\0\0\0\0\0青', 0, 'utf8'))
})

test('EXIF of other writers: little-endian TIFF, UTF-16 in either order, ASCII, damage', (t) => {
  t.is(readExif(writeExif({ comment: 'abc é' })).comment, 'abc é')
  t.deepEqual(readExif(Buffer.from('II*\0\xff\xff\xff\xff', 'latin1')), {})
  t.deepEqual(readExif(Buffer.alloc(0)), {})
  const little = Buffer.alloc(64)
  little.write('II*\0', 0, 'latin1')
  little.writeUInt32LE(8, 4)
  little.writeUInt16LE(1, 8)
  little.writeUInt16LE(0x8769, 10)
  little.writeUInt16LE(4, 12)
  little.writeUInt32LE(1, 14)
  little.writeUInt32LE(26, 18)
  little.writeUInt16LE(1, 26)
  little.writeUInt16LE(0x9286, 28)
  little.writeUInt16LE(7, 30)
  little.writeUInt32LE(14, 32)
  little.writeUInt32LE(44, 36)
  little.write('UNICODE\0', 44, 'latin1')
  little.write('abc', 52, 'utf16le')
  t.is(readExif(little).comment, 'abc')
})

test('files without metadata, cut files and other files are told apart', async (t) => {
  const png = await picture().png()
  t.deepEqual((await readMetadata(png.subarray(0, 20))).texts, {})
  const plain = join(scratch, 'plain.png')
  await writeFile(plain, await picture().png({ metadata: false }))
  await t.throwsAsync(parseParameters(plain), { message: /Expected an image that says what it was made with for source/ })
  await t.throwsAsync(readMetadata(Buffer.from('GIF89a')), { message: /Expected a PNG, JPEG or WebP file/ })
  await t.throwsAsync(readMetadata(join(scratch, 'missing.png')), { message: /Expected an existing image file/ })
})

test('saving leaves one file and no temporary one', async (t) => {
  const folder = join(scratch, 'one')
  await Promise.all(Array.from({ length: 8 }, () => picture().save(join(folder, 'same.png'))))
  t.deepEqual(await readdir(folder), ['same.png'])
})
