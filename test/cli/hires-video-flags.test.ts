import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import sharp from 'sharp'
import { UsageError } from '../../ts/cli/exit.ts'
import { readHires } from '../../ts/cli/hires-flags.ts'
import { outputPaths } from '../../ts/cli/output-paths.ts'
import { preprocessCommand } from '../../ts/cli/preprocess.ts'
import { readVideo, videoExtensions } from '../../ts/cli/video-flags.ts'

const cwd = await mkdtemp(join(tmpdir(), 'node-diffusion-flags-'))
test.after.always(() => rm(cwd, { recursive: true, force: true }))

test('the flags of a second pass become its options', (t) => {
  t.is(readHires({}, 'textToImage'), undefined)
  t.like(readHires({ hiresScale: '1.5', hiresSteps: '4' }, 'textToImage'), {
    scale: 1.5,
    steps: 4,
    upscaler: 'Latent',
    denoisingStrength: 0.7,
  })
  t.throws(() => readHires({ hiresScale: 'x' }, 'textToImage'), { instanceOf: UsageError, message: /--hires-scale/ })
  t.throws(() => readHires({ hiresStrength: '2' }, 'textToImage'), { instanceOf: UsageError, message: /--hires-strength but received 2/ })
  t.throws(() => readHires({ hiresScale: '2' }, 'imageToImage'), { instanceOf: UsageError, message: /only without --image/ })
})

test('the flags of a video become its options', (t) => {
  t.is(readVideo({}, 'textToImage'), undefined)
  t.deepEqual(readVideo({ motionAdapter: 'm', frames: '4', fps: '12' }, 'textToImage'), { numFrames: 4, fps: 12 })
  t.throws(() => readVideo({ frames: '4' }, 'textToImage'), { instanceOf: UsageError, message: /--motion-adapter <folder> with --frames/ })
  t.throws(() => readVideo({ motionAdapter: 'm', frames: '0' }, 'textToImage'), { instanceOf: UsageError, message: /--frames/ })
  t.throws(() => readVideo({ motionAdapter: 'm', fps: '0' }, 'textToImage'), { instanceOf: UsageError, message: /--fps/ })
  t.throws(() => readVideo({ motionAdapter: 'm' }, 'inpainting'), { instanceOf: UsageError, message: /only without --image/ })
})

test('videos are written as animated WebP unless the name says otherwise', async (t) => {
  const paths = await outputPaths(`${cwd}/`, 'a Cat', 1, videoExtensions)
  t.is(paths.picture(0, 7), join(cwd, 'a-cat-7.webp'))
  t.is((await outputPaths(join(cwd, 'x.gif'), 'a', 1, videoExtensions)).picture(0, 7), join(cwd, 'x.gif'))
  await t.throwsAsync(outputPaths(join(cwd, 'x.jpg'), 'a', 1, videoExtensions), { instanceOf: UsageError, message: /\.mp4/ })
})

test.serial('preprocess writes beside the picture', async (t) => {
  const picture = join(cwd, 'square.png')
  await sharp({ create: { width: 64, height: 64, channels: 3, background: '#fff' } })
    .composite([{ input: { create: { width: 20, height: 20, channels: 3, background: '#000' } } }])
    .png()
    .toFile(picture)
  await preprocessCommand('canny', picture, { low: '30', high: '100', resolution: '128' })
  const { width, height } = await sharp(join(cwd, 'square-canny.png')).metadata()
  t.deepEqual([width, height], [128, 128])
  await t.throwsAsync(preprocessCommand('blur', picture, { low: '3' }), {
    instanceOf: UsageError,
    message: /--low can be used only with canny/,
  })
  await t.throwsAsync(preprocessCommand('depth', picture, {}), { instanceOf: UsageError, message: /--model/ })
})
