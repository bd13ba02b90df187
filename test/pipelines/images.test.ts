import test from 'ava'
import {
  AutoPipelineForImage2Image,
  AutoPipelineForInpainting,
  AutoPipelineForText2Image,
  Generator,
  Image,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline,
  StableDiffusionPipeline,
} from '../../ts/index.ts'

const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
const redraw = StableDiffusionImg2ImgPipeline.fromPipe(pipe)
const inpaint = StableDiffusionInpaintPipeline.fromPipe(pipe)
test.after.always(() => pipe.dispose())

const prompt = 'a red circle on a blue background'
let picture: Image
let start: { prompt: string; image: Image; numInferenceSteps: number; seed: number }
test.before(async () => {
  picture = (await pipe.generate({ prompt, numInferenceSteps: 8, seed: 1 })).images[0]
  start = { prompt: 'a green circle on a blue background', image: picture, numInferenceSteps: 5, seed: 3 }
})

/** White inside the box, black outside. */
function boxMask(width: number, height: number, [left, top, right, bottom]: [number, number, number, number]): Image {
  const data = new Uint8Array(width * height * 3)
  for (let y = top; y < bottom; y++) {
    data.fill(255, (y * width + left) * 3, (y * width + right) * 3)
  }
  return new Image({ width, height, data })
}

/** Mean difference of two pictures inside a box, 0 to 1. */
function difference(a: Image, b: Image, [left, top, right, bottom]: [number, number, number, number]): number {
  let sum = 0
  for (let y = top; y < bottom; y++) {
    for (let i = (y * a.width + left) * 3; i < (y * a.width + right) * 3; i++) {
      sum += Math.abs((a.data[i] ?? 0) - (b.data[i] ?? 0)) / 255
    }
  }
  return sum / ((right - left) * (bottom - top) * 3)
}

const whole: [number, number, number, number] = [0, 0, 128, 128]

test('strength says how many steps run and how much changes', async (t) => {
  const run = async (strength: number): Promise<{ steps: number; changed: number }> => {
    let steps = 0
    const job = redraw.generate({ ...start, strength })
    job.on(({ type }) => {
      steps += type === 'step' ? 1 : 0
    })
    const { images } = await job
    return { steps, changed: difference(images[0], picture, whole) }
  }
  const little = await run(0.2)
  const much = await run(1)
  t.deepEqual([little.steps, much.steps], [1, 5])
  t.true(little.changed < 0.1 && little.changed < much.changed, `${little.changed} ${much.changed}`)
})

test('a picture may be a path, bytes, pixels, a list or a tensor; the result has its size', async (t) => {
  const png = await picture.png()
  const tensor = picture.toTensor()
  const made = await Promise.all(
    [picture, png, picture.rgba(), tensor].map(async (image) => (await redraw.generate({ ...start, image })).images[0]),
  )
  for (const image of made.slice(1)) {
    t.true(difference(image, made[0] ?? image, whole) < 0.002)
  }
  const odd = await redraw.generate({ ...start, image: { width: 75, height: 68, data: new Uint8Array(75 * 68 * 3).fill(90) } })
  t.deepEqual([odd.images[0].width, odd.images[0].height], [72, 64])
  const two = await redraw.generate({ ...start, prompt: [prompt, prompt], image: [picture, boxMask(128, 128, [0, 0, 64, 128])] })
  t.is(two.images.length, 2)
})

test('each image of a batch depends on its own seed only', async (t) => {
  const both = await redraw.generate({ ...start, seed: 5, numImagesPerPrompt: 2 })
  const second = await redraw.generate({ ...start, seed: 6 })
  t.true(difference(both.images[1] ?? picture, second.images[0], whole) < 0.005)
  const maskImage = boxMask(128, 128, [32, 32, 96, 96])
  const painted = await inpaint.generate({ ...start, maskImage, seed: 5, numImagesPerPrompt: 2 })
  const alone = await inpaint.generate({ ...start, maskImage, seed: 6 })
  t.true(difference(painted.images[1] ?? picture, alone.images[0], whole) < 0.005)
})

test('latents may stand in for the picture', async (t) => {
  const { latentDist } = await pipe.vae.encode(picture.toTensor().unsqueeze(0).mul(2).sub(1))
  const image = latentDist.mode().mul(pipe.vae.config.scaling_factor)
  const { images } = await redraw.generate({ ...start, image, strength: 0.4 })
  t.deepEqual([images[0].width, images[0].height], [128, 128])
  t.false(image.disposed)
})

test('inpainting keeps what is black in the mask', async (t) => {
  const maskImage = boxMask(128, 128, [64, 0, 128, 128])
  const { images } = await inpaint.generate({ ...start, prompt: 'a yellow star on a red background', maskImage, numInferenceSteps: 10 })
  const kept = difference(images[0], picture, [0, 0, 48, 128])
  const changed = difference(images[0], picture, [80, 0, 128, 128])
  t.true(kept < 0.05 && changed > 0.1, `kept ${kept}, changed ${changed}`)
})

test('transparency is a mask', async (t) => {
  const rgba = new Uint8Array(picture.rgba().data)
  for (let y = 0; y < 128; y++) {
    for (let x = 64; x < 128; x++) {
      rgba[(y * 128 + x) * 4 + 3] = 0
    }
  }
  const fromAlpha = await inpaint.generate({ ...start, image: { width: 128, height: 128, channels: 4, data: rgba } })
  const fromMask = await inpaint.generate({ ...start, maskImage: boxMask(128, 128, [64, 0, 128, 128]) })
  t.is(difference(fromAlpha.images[0], fromMask.images[0], whole), 0)
})

test('with paddingMaskCrop only the masked part is worked on, and the rest is the original to the bit', async (t) => {
  const maskImage = boxMask(128, 128, [40, 40, 80, 80])
  const { images } = await inpaint.generate({ ...start, prompt: 'a yellow star', maskImage, paddingMaskCrop: 8 })
  t.is(difference(images[0], picture, [0, 0, 128, 40]), 0)
  t.true(difference(images[0], picture, [40, 40, 80, 80]) > 0.02)
  t.is(images[0].parameters?.paddingMaskCrop, 8)
  t.is(images[0].seed, 3)
})

test('pictures and masks that do not fit together are refused', async (t) => {
  const refuse = async (options: object, message: RegExp): Promise<void> => {
    await t.throwsAsync(async () => inpaint.generate({ ...start, ...options }), { code: 'ERR_INVALID_ARGUMENT', message })
  }
  await refuse({ maskImage: boxMask(64, 128, [0, 0, 8, 8]) }, /for maskImage but received "64 x 128"/)
  await refuse({ maskImage: boxMask(128, 128, [0, 0, 0, 0]), paddingMaskCrop: 4 }, /all black/)
  await refuse({ maskImage: boxMask(128, 128, [0, 0, 8, 8]), paddingMaskCrop: 4, outputType: 'latent' }, /outputType/)
  await refuse({ maskImage: picture, image: [picture, picture, picture], numImagesPerPrompt: 2 }, /for image but/)
  await t.throwsAsync(async () => redraw.generate({ ...start, image: [picture, picture, picture], numImagesPerPrompt: 2 }), {
    message: /divides 2/,
  })
})

test('an auto pipeline chooses the class by the folder and by another pipeline', async (t) => {
  await using text = await AutoPipelineForText2Image.fromPretrained('shapes')
  const image = AutoPipelineForImage2Image.fromPipe(text)
  const mask = AutoPipelineForInpainting.fromPipe(image)
  t.deepEqual(
    [text, image, mask].map((item) => item.constructor.name),
    ['StableDiffusionPipeline', 'StableDiffusionImg2ImgPipeline', 'StableDiffusionInpaintPipeline'],
  )
  t.is(mask.unet, text.unet)
})

test('generators given by the caller advance, so that a second call differs', async (t) => {
  const generator = new Generator(1)
  const first = await redraw.generate({ ...start, seed: undefined, generator, outputType: 'latent' })
  const second = await redraw.generate({ ...start, seed: undefined, generator, outputType: 'latent' })
  t.true(first.latents.sub(second.latents).abs().max().item() > 0.1)
})
