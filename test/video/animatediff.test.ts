import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import {
  AnimateDiffPipeline,
  AnimateDiffVideoToVideoPipeline,
  ControlNetModel,
  controlNet,
  Generator,
  InvalidArgumentError,
  type IPAdapter,
  imagePrompt,
  MotionAdapter,
  StableDiffusionPipeline,
  stillMotionAdapter,
  Tensor,
  Video,
} from '../../ts/index.ts'
import { schedulerFromConfig } from '../../ts/schedulers/index.ts'
import { adapters, imageEncoder } from '../families/goldens.ts'

const fixtures = fileURLToPath(new URL('../fixtures/', import.meta.url))
const base = join(fixtures, 'parity', 'pipelines', 'tiny-sd15')
const adapterFolder = join(fixtures, 'parity', 'models', 'animatediff', 'motion_adapter')

type Case = {
  cls: string
  call: Record<string, unknown>
  free_noise?: object
  free_init?: object
  scheduler_config: Record<string, unknown>
  seed: number
}

const cases = JSON.parse(await readFile(join(fixtures, 'video', 'cases.json'), 'utf8')) as Record<string, Case>
const tensors = await Tensor.loadSafetensors(join(fixtures, 'video', 'cases.safetensors'))

const camel = (name: string): string => name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
const camelKeys = (values: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(values).map(([name, value]) => [camel(name), value]))

/** Stored frames (F, H, W, 3) as pictures. */
function pictures(name: string): { width: number; height: number; data: Uint8Array }[] {
  const stored = tensors[name] as Tensor
  const [frames = 0, height = 0, width = 0] = stored.shape
  return Array.from({ length: frames }, (_, i) => ({ width, height, data: Uint8Array.from(stored.index(i).toArray() as Uint8Array) }))
}

/** A stored call in our names. */
async function optionsOf(name: string, { call, free_noise, free_init, seed }: Case): Promise<Record<string, unknown>> {
  const { prompt, video, conditioning_frames, controlnet_conditioning_scale, control_guidance_start, control_guidance_end, ...rest } = call
  const [first, ...others] = typeof prompt === 'object' ? Object.entries(prompt as Record<string, string>) : [['0', prompt as string]]
  const control =
    conditioning_frames === undefined ? undefined : await ControlNetModel.fromPretrained(join(fixtures, 'parity', 'models', 'controlnet'))
  const controlOptions = {
    image: control && pictures(`${name}/in/conditioning_frames`),
    scale: controlnet_conditioning_scale as number | undefined,
    start: control_guidance_start as number | undefined,
    end: control_guidance_end as number | undefined,
  }
  const { weightingScheme, ...noise } = camelKeys(free_noise ?? {})
  return {
    ...camelKeys(rest),
    prompt: first?.[1],
    promptTravel: others.length === 0 ? undefined : Object.fromEntries(others),
    video: video === undefined ? undefined : pictures(`${name}/in/video`),
    conditions: control && [controlNet(control, controlOptions as Parameters<typeof controlNet>[1])],
    freeNoise: free_noise && { ...noise, ...(weightingScheme !== undefined && { weighting: weightingScheme }) },
    freeInit: free_init && camelKeys(free_init),
    generator: new Generator(seed),
  }
}

const far = (actual: Tensor, wanted: Tensor): number => actual.sub(wanted).abs().max().item() / Math.max(1, wanted.abs().max().item())

for (const [name, item] of Object.entries(cases)) {
  test(`${name} is diffusers’`, async (t) => {
    const motionAdapter = await MotionAdapter.fromPretrained(adapterFolder)
    const parts = { motionAdapter, scheduler: schedulerFromConfig(item.scheduler_config) }
    const toVideo = item.cls === 'AnimateDiffVideoToVideoPipeline'
    await using pipe = await (toVideo
      ? AnimateDiffVideoToVideoPipeline.fromPretrained(base, parts)
      : AnimateDiffPipeline.fromPretrained(base, parts))
    const run = async (outputType: 'latent' | 'tensor'): Promise<{ latents?: Tensor; tensor?: Tensor }> =>
      pipe.generate({ ...(await optionsOf(name, item)), outputType } as never)
    const [wantedLatents, wantedImage] = [tensors[`${name}/out/latents`], tensors[`${name}/out/image`]] as [Tensor, Tensor]
    const { latents } = await run('latent')
    t.deepEqual(latents && [...latents.shape], [...wantedLatents.shape])
    const latentsFar = far(latents as Tensor, wantedLatents)
    t.true(latentsFar < 1e-3, `latents: ${latentsFar}`) // the pack's tolerance of a denoising run
    const { tensor } = await run('tensor')
    const imageFar = far(tensor as Tensor, wantedImage)
    t.true(imageFar < 2e-3, `image: ${imageFar}`) // the pack's tolerance of pictures
  })
}

test('a video has its frames, seed and parameters, whatever else is in the batch', async (t) => {
  const motionAdapter = await MotionAdapter.fromPretrained(adapterFolder)
  await using pipe = await AnimateDiffPipeline.fromPretrained(base, { motionAdapter })
  const common = { prompt: 'a red cat', numFrames: 3, numInferenceSteps: 2, height: 16, width: 16 }
  const previews: number[] = []
  const job = pipe.generate({ ...common, numImagesPerPrompt: 2, seed: 5, preview: true })
  for await (const event of job) {
    if (event.type === 'preview') {
      previews.push(event.images.length)
    }
  }
  const { videos, images, seeds } = await job
  t.deepEqual([videos.length, images.length, videos[0].frames.length], [2, 6, 3])
  t.deepEqual(seeds, [5, 6])
  t.true(previews.length > 1 && previews.every((count) => count === 6))
  t.is(videos[1]?.frames[2]?.seed, 6)
  t.is(videos[0].frames[0].parameters?.numFrames, 3)
  const alone = await pipe.generate({ ...common, seed: 6 })
  t.deepEqual(alone.videos[0].frames[1]?.data, videos[1]?.frames[1]?.data)
})

test('a UNet that diffusers saved together with its motion modules is both of them', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'node-diffusion-motion-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const unet = join(folder, 'unet')
  await cp(base, folder, { recursive: true, dereference: true })
  await cp(join(fixtures, 'video', 'unet_motion_model.json'), join(unet, 'config.json'), { force: true })
  const weights = 'diffusion_pytorch_model.safetensors'
  const both = await Promise.all([join(base, 'unet'), adapterFolder].map((from) => Tensor.loadSafetensors(join(from, weights))))
  await Tensor.saveSafetensors(join(unet, weights), Object.assign({}, ...both))
  const index = JSON.parse(await readFile(join(base, 'model_index.json'), 'utf8')) as object
  const classes = {
    _class_name: 'AnimateDiffPipeline',
    unet: ['diffusers', 'UNetMotionModel'],
    motion_adapter: ['diffusers', 'MotionAdapter'],
  }
  await writeFile(join(folder, 'model_index.json'), JSON.stringify({ ...index, ...classes }))
  const { scheduler_config, ...item } = cases.free_noise as Case
  await using pipe = await AnimateDiffPipeline.fromPretrained(folder, { scheduler: schedulerFromConfig(scheduler_config) })
  const options = await optionsOf('free_noise', { ...item, scheduler_config })
  const result: { latents?: unknown } = await pipe.generate({ ...options, outputType: 'latent' } as never)
  t.true(far(result.latents as Tensor, tensors['free_noise/out/latents'] as Tensor) < 1e-3) // the pack's tolerance of a denoising run
})

test('an image prompt holds for every frame of a video', async (t) => {
  await using pictures = await StableDiffusionPipeline.fromPretrained(base)
  const motionAdapter = await stillMotionAdapter(pictures.unet)
  await using videos = AnimateDiffPipeline.fromPipe(pictures, { motionAdapter })
  const [ip] = (await adapters('mixed', 1)) as [IPAdapter]
  const image = { width: 32, height: 32, data: Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => (i * 7) % 256) }
  const conditions = [imagePrompt(ip, { imageEncoder: await imageEncoder(), image, scale: 0.8 })]
  const noise = new Generator(9).randn([3, 4, 8, 8])
  const common = { prompt: 'a red cat', numInferenceSteps: 3, height: 16, width: 16, seed: 1, outputType: 'latent' } as const
  const batch = { ...common, latents: noise, numImagesPerPrompt: 3 }
  const video = { ...common, latents: noise.permute([1, 0, 2, 3]).unsqueeze(0), numFrames: 3 }
  const frames = async (options: object): Promise<Tensor> =>
    (await videos.generate({ ...video, ...options })).latents.index(0).permute([1, 0, 2, 3])
  const [moving, still] = [await frames({ conditions }), (await pictures.generate({ ...batch, conditions })).latents]
  t.true(far(moving, still) < 1e-5, 'modules of zeros leave each frame what the UNet makes of it') // the order of f32 sums
  t.true(far(moving, await frames({})) > 1e-3, 'the image prompt has no effect')
})

test('a video to video run takes a Video', async (t) => {
  const motionAdapter = await MotionAdapter.fromPretrained(adapterFolder)
  await using text = await AnimateDiffPipeline.fromPretrained(base, { motionAdapter })
  const { videos } = await text.generate({ prompt: 'a cat', numFrames: 3, numInferenceSteps: 1, height: 16, width: 16, seed: 1 })
  const pipe = AnimateDiffVideoToVideoPipeline.fromPipe(text)
  const again = await pipe.generate({
    prompt: 'a dog',
    video: videos[0],
    strength: 0.5,
    numInferenceSteps: 2,
    height: 16,
    width: 16,
    seed: 1,
  })
  t.true(again.videos[0] instanceof Video)
  t.is(again.videos[0].frames.length, 3)
})

test('bad calls are refused before any work', async (t) => {
  const motionAdapter = await MotionAdapter.fromPretrained(adapterFolder)
  await using pipe = await AnimateDiffPipeline.fromPretrained(base, { motionAdapter })
  const refuses = async (options: object, message: RegExp): Promise<void> => {
    await t.throwsAsync(Promise.resolve(pipe.generate({ prompt: 'a cat', ...options })), { instanceOf: InvalidArgumentError, message })
  }
  await refuses({ numFrames: 9 }, /at most 8, as the motion adapter was trained with, or freeNoise/)
  await refuses({ numFrames: 12, freeNoise: { contextLength: 9 } }, /freeNoise\.contextLength/)
  await refuses({ numFrames: 4, freeNoise: { contextLength: 6 } }, /freeNoise\.contextLength/)
  await refuses({ numFrames: 4, freeInit: { method: 'sharp' } }, /freeInit\.method/)
  await refuses({ numFrames: 4, promptTravel: { 4: 'a dog' } }, /promptTravel/)
  await refuses({ numFrames: 4, prompt: ['a', 'b'], promptTravel: { 2: 'a dog' } }, /one text for prompt/)
  await refuses({ numFrames: 4, latents: Tensor.zeros([1, 4, 3, 8, 8]), height: 16, width: 16 }, /latents/)
  const other = AnimateDiffVideoToVideoPipeline.fromPipe(pipe)
  await t.throwsAsync(Promise.resolve(other.generate({ prompt: 'a', video: [] })), { instanceOf: InvalidArgumentError, message: /video/ })
  const few = { prompt: 'a', video: pictures('video_to_video/in/video'), strength: 0.5, numInferenceSteps: 4, freeInit: { numIters: 3 } }
  await t.throwsAsync(Promise.resolve(other.generate(few)), { instanceOf: InvalidArgumentError, message: /round 2 has a step/ })
  await using plain = await StableDiffusionPipeline.fromPretrained(base)
  t.throws(() => AnimateDiffPipeline.fromPipe(plain), { instanceOf: InvalidArgumentError, message: /MotionAdapter for motionAdapter/ })
})
