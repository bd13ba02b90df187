import test from 'ava'
import {
  AbortError,
  ClassifierFreeGuidance,
  DDIMScheduler,
  EulerAncestralDiscreteScheduler,
  Generator,
  type Image,
  type PipelineEvent,
  StableDiffusionPipeline,
  type StepState,
  Tensor,
} from '../../ts/index.ts'
import type { ImagesResult } from '../../ts/pipelines/result.ts'

const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())

const prompt = 'a red circle on a blue background'
const small = { prompt, numInferenceSteps: 3, width: 64, height: 64 } as const

const bytes = (images: readonly Image[] | undefined): string[] => (images ?? []).map(({ data }) => Buffer.from(data).toString('base64'))
const distance = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item()

test('a call reports its events in order, with timings and an estimate', async (t) => {
  const events: PipelineEvent<unknown>[] = []
  const job = pipe.generate({ ...small, numInferenceSteps: 4, seed: 1, preview: { every: 2 } })
  for await (const event of job) {
    events.push(event)
  }
  const result = await job
  t.deepEqual(
    events.map(({ type }) => type),
    ['encode', 'step', 'step', 'preview', 'step', 'step', 'preview', 'decode', 'image', 'done'],
  )
  const steps = events.filter((event) => event.type === 'step')
  t.deepEqual(
    steps.map(({ step, total, timestep }) => [step, total, timestep]),
    [751, 501, 251, 1].map((timestep, i) => [i + 1, 4, timestep]),
  )
  t.is(steps.at(-1)?.etaMs, 0)
  t.true((steps[0]?.etaMs ?? 0) > 0)
  const [preview] = events.filter((event) => event.type === 'preview')
  t.deepEqual([preview?.images[0]?.width, preview?.images[0]?.height], [8, 8])
  t.deepEqual(result.seeds, [1])
  t.true(result.timings.denoise > 0 && result.timings.decode > 0 && (result.timings.load ?? 0) > 0)
})

test('the picture knows everything that it was made with', async (t) => {
  const { images } = await pipe.generate({
    ...small,
    negativePrompt: 'green',
    seed: 5,
    guidanceScale: 4,
    scheduler: 'DPM++ 2M Karras',
    clipSkip: 1,
  })
  const {
    prompt: shown,
    negativePrompt,
    seed,
    guidanceScale,
    numInferenceSteps,
    scheduler,
    width,
    height,
    clipSkip,
    model,
  } = images[0].parameters ?? {}
  t.deepEqual(
    { prompt: shown, negativePrompt, seed, guidanceScale, numInferenceSteps, scheduler, width, height, clipSkip, model },
    {
      prompt,
      negativePrompt: 'green',
      seed: 5,
      guidanceScale: 4,
      numInferenceSteps: 3,
      scheduler: 'DPM++ 2M Karras',
      width: 64,
      height: 64,
      clipSkip: 1,
      model: 'shapes',
    },
  )
})

test('a seed means the same picture in every batch', async (t) => {
  const scheduler = EulerAncestralDiscreteScheduler.fromConfig(pipe.scheduler)
  const four = await pipe.generate({
    ...small,
    scheduler,
    prompt: [prompt, 'a green star on a white background'],
    numImagesPerPrompt: 2,
    seed: 10,
  })
  t.deepEqual(four.seeds, [10, 11, 12, 13])
  const alone = await pipe.generate({ ...small, scheduler, prompt: 'a green star on a white background', seed: 12, outputType: 'tensor' })
  const listed = await pipe.generate({
    ...small,
    scheduler,
    prompt: 'a green star on a white background',
    seeds: [3, 12],
    numImagesPerPrompt: 2,
  })
  const picture = four.images[2]?.toTensor().unsqueeze(0) ?? alone.tensor
  t.true(distance(picture, alone.tensor) < 2 / 255)
  t.true(distance(picture, (listed.images[1]?.toTensor() ?? picture).unsqueeze(0)) < 2 / 255)
})

test('one generator draws the batch at once, a list draws each image alone', async (t) => {
  const options = { ...small, numImagesPerPrompt: 2, outputType: 'latent' } as const
  const one = await pipe.generate({ ...options, generator: new Generator(7) })
  const list = await pipe.generate({ ...options, generator: [new Generator(7), new Generator(8)] })
  const seeds = await pipe.generate({ ...options, seed: 7 })
  t.deepEqual(
    [one.seeds, list.seeds],
    [
      [7, 7],
      [7, 8],
    ],
  )
  t.is(distance(list.latents, seeds.latents), 0)
  t.true(distance(one.latents.index(1), list.latents.index(1)) > 0.1)
})

test('without a seed each call draws one and tells it', async (t) => {
  const first = await pipe.generate(small)
  const again = await pipe.generate({ ...small, seeds: first.seeds })
  const other = await pipe.generate(small)
  t.deepEqual(bytes(again.images), bytes(first.images))
  t.notDeepEqual(other.seeds, first.seeds)
})

test('latents, tensor and image are the same result in three forms', async (t) => {
  const options = { ...small, seed: 3 } as const
  const { latents } = await pipe.generate({ ...options, outputType: 'latent' })
  const { tensor } = await pipe.generate({ ...options, outputType: 'tensor' })
  const { images } = await pipe.generate(options)
  const decoded = (await pipe.vae.decode(latents.div(pipe.vae.config.scaling_factor))).sample.mul(0.5).add(0.5).clamp(0, 1)
  t.true(distance(decoded, tensor) < 1e-5)
  t.true(distance(images[0].toTensor().unsqueeze(0), tensor) <= 0.51 / 255)
})

test('prompts given as embeddings and noise given as latents make the same picture', async (t) => {
  const { promptEmbeds, negativePromptEmbeds } = await pipe.encodePrompt(prompt, { negativePrompt: 'green' })
  const latents = new Generator(4).randn([1, 4, 8, 8])
  const fromText = await pipe.generate({ ...small, negativePrompt: 'green', seed: 4 })
  const { prompt: _, ...rest } = small
  const fromTensors = await pipe.generate({ ...rest, promptEmbeds, negativePromptEmbeds, latents, seed: 99 })
  t.deepEqual(bytes(fromTensors.images), bytes(fromText.images))
  t.false(promptEmbeds.disposed || latents.disposed, 'what the caller gave stays the caller’s')
})

test('guidance is off at 1 and below, whatever the negative prompt', async (t) => {
  const at = async (guidanceScale: number, negativePrompt: string): Promise<string[]> =>
    bytes((await pipe.generate({ ...small, seed: 2, guidanceScale, negativePrompt })).images)
  t.deepEqual(await at(1, 'green'), await at(0, 'a square'))
  t.notDeepEqual(await at(3, 'green'), await at(3, 'a square'))
})

test('the step hook sees and replaces latents, embeddings and guidance, also asynchronously', async (t) => {
  const seen: number[] = []
  const scales: number[] = []
  const { negativePromptEmbeds } = await pipe.encodePrompt(prompt, { negativePrompt: 'a square' })
  const hook = async (_pipe: unknown, index: number, timestep: number, state: StepState): Promise<Partial<StepState>> => {
    await Promise.resolve()
    seen.push(timestep)
    scales.push(state.guidanceScale)
    return index === 0
      ? { guidanceScale: 2, negativePromptEmbeds }
      : index === 1
        ? { latents: Tensor.zeros(state.latents.shape), guidanceScale: 0 }
        : {}
  }
  const { latents } = await pipe.generate({ ...small, seed: 1, callbackOnStepEnd: hook, outputType: 'latent' })
  t.deepEqual(seen, [667, 334, 1])
  t.deepEqual(scales, [7.5, 2, 0])
  const other = await pipe.generate({ ...small, seed: 8, callbackOnStepEnd: hook, outputType: 'latent' })
  t.is(distance(latents, other.latents), 0, 'after its latents were replaced, nothing of the seed is left')
})

test('a step hook that throws rejects the job and the pipeline goes on', async (t) => {
  const error = new RangeError('enough')
  const job = pipe.generate({
    ...small,
    callbackOnStepEnd: async () => {
      throw error
    },
  })
  t.is(await job.catch((caught: unknown) => caught), error)
  t.is((await pipe.generate(small)).images.length, 1)
})

test('an event listener that throws disturbs nothing', async (t) => {
  const quiet = await pipe.generate({ ...small, seed: 1 })
  const job = pipe.generate({ ...small, seed: 1 })
  job.on(() => {
    throw new Error('from a listener')
  })
  t.deepEqual(bytes((await job).images), bytes(quiet.images))
})

test('an abort rejects with the reason, or gives what the last step predicts', async (t) => {
  const controller = new AbortController()
  const job = pipe.generate({ ...small, numInferenceSteps: 20, seed: 1 }, { signal: controller.signal })
  job.on((event) => {
    if (event.type === 'step' && event.step === 2) {
      controller.abort('seen enough')
    }
  })
  const error = await job.catch((caught: unknown) => caught)
  t.true(error instanceof AbortError)
  t.is((error as AbortError).cause, 'seen enough')

  const partial = pipe.generate({ ...small, numInferenceSteps: 20, seed: 1, onAbort: 'return-partial' })
  partial.on((event) => {
    if (event.type === 'step' && event.step === 12) {
      partial.cancel()
    }
  })
  const result: ImagesResult = await partial
  t.true(result.partial)
  t.is(result.images[0].parameters?.stoppedAfterSteps, 12)
  const whole = await pipe.generate({ ...small, numInferenceSteps: 20, seed: 1 })
  t.false(whole.partial)
  const difference = result.images[0].toTensor().sub(whole.images[0].toTensor()).abs().mean().item()
  t.true(difference < 0.15, `the partial picture looks like the whole one: ${difference}`)
})

test('calls at the same time give the same pictures as one after the other', async (t) => {
  const options = [1, 2, 3, 4].map((seed) => ({ ...small, seed, scheduler: seed % 2 === 0 ? 'DPM++ 2M' : undefined }))
  const apart: string[][] = []
  for (const option of options) {
    apart.push(bytes((await pipe.generate(option)).images))
  }
  const together = await Promise.all(options.map(async (option) => bytes((await pipe.generate(option)).images)))
  t.deepEqual(together, apart)
})

test('samplers by name, by config and as an instance are the same', async (t) => {
  const instance = DDIMScheduler.fromConfig(pipe.scheduler, { timestep_spacing: 'trailing' })
  const before = instance.timesteps.length
  const a = await pipe.generate({ ...small, seed: 1, scheduler: instance })
  const b = await pipe.generate({ ...small, seed: 1, scheduler: { _class_name: 'DDIMScheduler', timestep_spacing: 'trailing' } })
  const c = await pipe.generate({ ...small, seed: 1, scheduler: 'DDIM' })
  t.deepEqual(bytes(a.images), bytes(b.images))
  t.notDeepEqual(bytes(a.images), bytes(c.images))
  t.is(instance.timesteps.length, before, 'the caller’s scheduler is not touched')
})

test('text that does not fit is reported', async (t) => {
  const { truncated } = await pipe.generate({ ...small, numInferenceSteps: 1, prompt: `${'circle '.repeat(90)}the end` })
  t.is(truncated.length, 1)
  t.regex(truncated[0] ?? '', /the end/)
})

test('a safety checker blackens what it objects to', async (t) => {
  const careful = StableDiffusionPipeline.fromPipe(pipe, { safetyChecker: { check: async () => [true, false] } })
  const { images, nsfwContentDetected } = await careful.generate({ ...small, numImagesPerPrompt: 2, seed: 1 })
  t.deepEqual(nsfwContentDetected, [true, false])
  t.deepEqual(
    images.map(({ data }) => data.some((value) => value > 0)),
    [false, true],
  )
})

test('guidance is a value that combines predictions', (t) => {
  const guidance = new ClassifierFreeGuidance({ scale: 3 })
  t.deepEqual(
    guidance.rows.map(({ prompt }) => prompt),
    ['negative', 'positive'],
  )
  t.deepEqual(guidance.combine([Tensor.from([1, 2]), Tensor.from([2, 2])]).tolist(), [4, 2])
  t.deepEqual(
    guidance.withScale(1).rows.map(({ prompt }) => prompt),
    ['positive'],
  )
  const rescaled = new ClassifierFreeGuidance({ scale: 3, rescale: 1 }).combine([Tensor.from([[0, 0]]), Tensor.from([[1, -1]])])
  t.true(distance(rescaled, Tensor.from([[1, -1]])) < 1e-6)
})
