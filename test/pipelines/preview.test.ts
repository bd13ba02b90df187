import { join } from 'node:path'
import test from 'ava'
import {
  type AutoencoderKL,
  AutoencoderTiny,
  EulerDiscreteScheduler,
  type Image,
  InvalidArgumentError,
  StableDiffusionPipeline,
  toImages,
} from '../../ts/index.ts'
import { checkPreview } from '../../ts/pipelines/report.ts'
import { modelFolder } from '../families/goldens.ts'
import { parityPack } from '../parity/pack.ts'

const pipe = await StableDiffusionPipeline.fromPretrained(join(parityPack(), 'pipelines', 'tiny-sd15'))
const decoder = await AutoencoderTiny.fromPretrained(modelFolder('taesd'))
const scheduler = EulerDiscreteScheduler.fromConfig(pipe.scheduler)
const call = { prompt: 'a red cat', numInferenceSteps: 3, height: 16, width: 16, seed: 4, scheduler, outputType: 'latent' } as const

test('previews by a tiny autoencoder are what it decodes of the predicted latents', async (t) => {
  const seen: [number, readonly Image[]][] = []
  const job = pipe.generate({ ...call, numImagesPerPrompt: 2, preview: { decoder } })
  for await (const event of job) {
    if (event.type === 'preview') {
      seen.push([event.step, event.images])
    }
  }
  const { latents } = await job
  const wanted = await toImages((await decoder.decode(latents)).sample)
  const [step, images] = seen.at(-1) ?? [0, []]
  t.is(step, 3)
  t.is(images.length, 2)
  for (const [i, image] of images.entries()) {
    const other = wanted[i]?.data ?? new Uint8Array()
    t.deepEqual([image.width, image.height, image.data.length], [wanted[i]?.width, wanted[i]?.height, other.length])
    t.true(image.data.every((value, at) => Math.abs(value - (other[at] ?? Number.NaN)) <= 1)) // Euler's last prediction is the result but for rounding
  }
  t.false(decoder.disposed)
})

test('a decoder for other latents is refused', (t) => {
  const other = { config: { latent_channels: 16 } } as AutoencoderKL
  t.throws(() => checkPreview({ decoder }, other), {
    instanceOf: InvalidArgumentError,
    message: /latents of 16 channels for preview.decoder/,
  })
  t.notThrows(() => checkPreview({ decoder }, pipe.vae))
})

test('a decoder that is none is refused, and the pictures stay the same with previews', async (t) => {
  await t.throwsAsync(async () => pipe.generate({ ...call, preview: { decoder: {} as never } }), {
    instanceOf: InvalidArgumentError,
    message: /an AutoencoderTiny/,
  })
  const [plain, shown] = [await pipe.generate(call), await pipe.generate({ ...call, preview: { every: 2, decoder } })]
  t.deepEqual(plain.latents.toArray(), shown.latents.toArray())
})
