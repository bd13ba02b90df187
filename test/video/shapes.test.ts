import test from 'ava'
import { AnimateDiffPipeline, Generator, StableDiffusionPipeline, stillMotionAdapter, Tensor } from '../../ts/index.ts'
import { framesToBatch } from '../../ts/video/frames.ts'

test('modules of zeros leave every frame as the UNet alone makes it', async (t) => {
  await using pictures = await StableDiffusionPipeline.fromPretrained()
  await using motionAdapter = await stillMotionAdapter(pictures.unet)
  const videos = AnimateDiffPipeline.fromPipe(pictures, { motionAdapter })
  const latents = new Generator(5).randn([1, 4, 3, 8, 8])
  const common = { prompt: 'a red circle on a blue background', numInferenceSteps: 3, height: 64, width: 64 }
  const video = await videos.generate({ ...common, numFrames: 3, latents })
  const prompts = Array.from({ length: 3 }, () => common.prompt)
  const single = await pictures.generate({ ...common, prompt: prompts, latents: framesToBatch(latents) })
  for (const [i, frame] of video.videos[0].frames.entries()) {
    const far = frame.data.reduce((most, value, at) => Math.max(most, Math.abs(value - (single.images[i]?.data[at] ?? 0))), 0)
    t.true(far <= 1, `${far} levels in frame ${i}`) // sums in another order
  }
})

test('a prompt that travels turns one thing into another', async (t) => {
  await using pictures = await StableDiffusionPipeline.fromPretrained()
  await using motionAdapter = await stillMotionAdapter(pictures.unet)
  const videos = AnimateDiffPipeline.fromPipe(pictures, { motionAdapter })
  const latents = new Generator(7).randn([1, 4, 1, 16, 16]).repeat([1, 1, 3, 1, 1])
  const { videos: made } = await videos.generate({
    prompt: 'a red circle on a blue background',
    promptTravel: { 2: 'a yellow circle on a green background' },
    numFrames: 3,
    numInferenceSteps: 8,
    latents,
  })
  const corner = (frame: number): [number, number, number] => {
    const pixels = Tensor.from(Float32Array.from(made[0].frames[frame]?.data ?? []), [128, 128, 3])
    const mean = pixels.slice(0, 0, 16).slice(1, 0, 16).mean([0, 1]).toArray()
    return [Number(mean[0]), Number(mean[1]), Number(mean[2])]
  }
  const [first, last] = [corner(0), corner(2)]
  t.true(first[2] > first[0] + 40 && first[2] > first[1] + 40, `blue first: ${first}`)
  t.true(last[1] > last[0] + 40 && last[1] > last[2] + 40, `green last: ${last}`)
})
