import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { chunks } from '../../ts/image/metadata/png.ts'
import { ConfigError, Image, InvalidArgumentError, Video } from '../../ts/index.ts'

const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-video-'))
test.after.always(() => rm(scratch, { recursive: true, force: true }))

/** A bar that moves to the right, 12 x 8 pixels. */
function frames(count: number, width = 12, height = 8): Image[] {
  return Array.from({ length: count }, (_, frame) => {
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (Math.trunc(i / 3) % width === frame ? 255 : 20 * (i % 3)))
    return new Image({ width, height, data })
  })
}

for (const format of ['gif', 'webp'] as const) {
  test(`an animated ${format} has every frame, its delay and its loop`, async (t) => {
    const video = new Video({ frames: frames(4), fps: 10 })
    const bytes = await video[format]({ loop: 3, ...(format === 'webp' && { lossless: true }) })
    const { pages, delay, loop, pageHeight, width } = await sharp(bytes, { animated: true }).metadata()
    t.deepEqual({ pages, delay, loop, pageHeight, width }, { pages: 4, delay: [100, 100, 100, 100], loop: 3, pageHeight: 8, width: 12 })
    const { data } = await sharp(bytes, { animated: true }).removeAlpha().raw().toBuffer({ resolveWithObject: true })
    const wanted = Buffer.concat(video.frames.map((frame) => frame.data))
    t.is(data.length, wanted.length)
    if (format === 'webp') {
      t.deepEqual(new Uint8Array(data), new Uint8Array(wanted))
    }
  })
}

test('an animated PNG is a chain of whole frames', async (t) => {
  const video = new Video({ frames: frames(3), fps: 4 })
  const bytes = await video.apng({ loop: 2 })
  const found = [...chunks(bytes)]
  t.deepEqual(
    found.map(({ type }) => type).filter((type) => ['IHDR', 'acTL', 'fcTL', 'IDAT', 'fdAT', 'IEND'].includes(type)),
    ['IHDR', 'acTL', 'fcTL', 'IDAT', 'fcTL', 'fdAT', 'fcTL', 'fdAT', 'IEND'],
  )
  const control = found.find(({ type }) => type === 'acTL')?.data
  t.deepEqual([control?.readUInt32BE(0), control?.readUInt32BE(4)], [3, 2])
  const sequence = found.filter(({ type }) => type === 'fcTL' || type === 'fdAT').map(({ data }) => data.readUInt32BE(0))
  t.deepEqual(sequence, [0, 1, 2, 3, 4])
  const delays = found.filter(({ type }) => type === 'fcTL').map(({ data }) => [data.readUInt16BE(20), data.readUInt16BE(22)])
  t.deepEqual(delays, [
    [250, 1000],
    [250, 1000],
    [250, 1000],
  ])
  const { data } = await sharp(bytes).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  t.deepEqual(new Uint8Array(data), video.frames[0].data) // a reader that knows no animation shows the first frame
  const second = Buffer.concat(
    found
      .filter(({ type }) => type === 'fdAT')
      .slice(0, 1)
      .map(({ data: part }) => part.subarray(4)),
  )
  const header = found.find(({ type }) => type === 'IHDR')
  t.true(second.length > 0 && header !== undefined)
})

test('save writes what the extension says, whole or not at all', async (t) => {
  const video = new Video({ frames: frames(2) })
  for (const [name, format] of [
    ['a.gif', 'gif'],
    ['b.webp', 'webp'],
    ['c.png', 'png'],
    ['d.apng', 'png'],
  ] as const) {
    const path = await video.save(join(scratch, 'deep', name))
    t.is((await sharp(path).metadata()).format, format)
  }
  await t.throwsAsync(video.save(join(scratch, 'a.avi')), { instanceOf: InvalidArgumentError, message: /\.mp4/ })
})

test('an .mp4 goes through ffmpeg, whose absence and failure are told', async (t) => {
  const video = new Video({ frames: frames(3), fps: 5 })
  const missing = video.save(join(scratch, 'x.mp4'), { ffmpeg: join(scratch, 'no-such-program') })
  await t.throwsAsync(missing, { instanceOf: ConfigError, message: /ffmpeg on the PATH.*\.gif/ })
  const program = join(scratch, 'ffmpeg-stand-in')
  await writeFile(program, '#!/bin/sh\nfor last; do :; done\necho "$@" > "$last"\nwc -c >> "$last"\n')
  await chmod(program, 0o755)
  const text = await readFile(await video.save(join(scratch, 'y.mp4'), { ffmpeg: program }), 'utf8')
  t.regex(text, /-f rawvideo -pix_fmt rgb24 -s 12x8 -r 5 -i pipe:0 .*libx264/)
  t.regex(text, new RegExp(`^\\s*${3 * 12 * 8 * 3}$`, 'm'))
  await writeFile(program, '#!/bin/sh\necho "no libx264 here" >&2\nexit 3\n')
  const failed = video.save(join(scratch, 'z.mp4'), { ffmpeg: program })
  await t.throwsAsync(failed, { instanceOf: ConfigError, message: /code 3: no libx264 here/ })
})

test('bad videos are named', (t) => {
  t.throws(() => new Video({ frames: [] }), { instanceOf: InvalidArgumentError, message: /frames/ })
  t.throws(() => new Video({ frames: [...frames(1), ...frames(1, 6, 6)] }), { instanceOf: InvalidArgumentError, message: /one size/ })
  t.throws(() => new Video({ frames: frames(1), fps: 0 }), { instanceOf: InvalidArgumentError, message: /fps/ })
})
