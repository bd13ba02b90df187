import test from 'ava'
import {
  type CommonOptions,
  type Conditioning,
  encodePrompt,
  Generator,
  type InpaintOptions,
  StableDiffusionImg2ImgPipeline,
  StableDiffusionInpaintPipeline,
  StableDiffusionPipeline,
  type StepState,
  Tensor,
  type TextToImageOptions,
} from '../../ts/index.ts'

const pipe = await StableDiffusionPipeline.fromPretrained('shapes')
test.after.always(() => pipe.dispose())

const small = { numInferenceSteps: 4, seed: 7, outputType: 'latent', promptSyntax: 'a1111' } as const
const bytes = (tensor: Tensor | undefined): Uint8Array => new Uint8Array(tensor?.toArray<Float32Array>().buffer ?? new ArrayBuffer(0))
const embedsOf = async (text: string): Promise<Tensor> => (await pipe.encodePrompt(text, { syntax: 'a1111' })).promptEmbeds

/** Which of the named texts conditioned each UNet call. */
async function textsOfRun(
  run: (options: CommonOptions) => PromiseLike<unknown>,
  texts: readonly string[],
  part: 'promptEmbeds' | 'negativePromptEmbeds' = 'promptEmbeds',
): Promise<string[]> {
  const known = await Promise.all(texts.map(async (text) => [text, bytes(await embedsOf(text))] as const))
  const seen: string[] = []
  const callbackOnStepEnd = (_pipe: unknown, _index: number, _timestep: number, state: StepState): void => {
    const own = bytes(state[part]).slice(0, known[0]?.[1].length)
    seen.push(known.find(([, other]) => Buffer.compare(own, other) === 0)?.[0] ?? 'another')
  }
  await run({ callbackOnStepEnd })
  return seen
}

const times = (n: number, text: string): string[] => Array.from({ length: n }, () => text)

test('a schedule reaches every UNet call, counted from 0 as the web UI does', async (t) => {
  const run = (options: CommonOptions): PromiseLike<unknown> =>
    pipe.generate({ ...small, numInferenceSteps: 10, prompt: 'a [red:blue:0.5] star', ...options })
  t.deepEqual(await textsOfRun(run, ['a red star', 'a blue star']), [...times(6, 'a red star'), ...times(4, 'a blue star')])
  const fromOne = (options: CommonOptions): PromiseLike<unknown> => run({ ...options, promptSyntax: { name: 'a1111', firstStep: 1 } })
  t.deepEqual(await textsOfRun(fromOne, ['a red star', 'a blue star']), [...times(5, 'a red star'), ...times(5, 'a blue star')])
})

test('samplers that call the UNet twice a step count their calls', async (t) => {
  for (const scheduler of ['Heun', 'DPM2']) {
    const run = (options: CommonOptions): PromiseLike<unknown> =>
      pipe.generate({ ...small, scheduler, numInferenceSteps: 5, prompt: '[red:blue:0.5]', ...options })
    const seen = await textsOfRun(run, ['red', 'blue'])
    t.deepEqual(seen, [...times(6, 'red'), ...times(3, 'blue')], scheduler)
  }
})

test('image to image and inpainting count from the first call that runs', async (t) => {
  const image = { width: 128, height: 128, data: new Uint8Array(128 * 128 * 3).fill(128) }
  const common = { ...small, numInferenceSteps: 10, image, strength: 0.8, prompt: '[red:blue:0.5]' }
  const redraw = StableDiffusionImg2ImgPipeline.fromPipe(pipe)
  const inpaint = StableDiffusionInpaintPipeline.fromPipe(pipe)
  const expected = [...times(6, 'red'), ...times(2, 'blue')]
  t.deepEqual(await textsOfRun((options) => redraw.generate({ ...common, ...options }), ['red', 'blue']), expected)
  const masked: InpaintOptions = { ...common, maskImage: { ...image, data: new Uint8Array(128 * 128 * 3).fill(255) } }
  t.deepEqual(await textsOfRun((options) => inpaint.generate({ ...masked, ...options, outputType: 'latent' }), ['red', 'blue']), expected)
})

test('schedules, alternation and AND work with every kind of sampler', async (t) => {
  for (const scheduler of ['Euler', 'Euler a', 'DPM++ 2M Karras', 'DPM++ SDE', 'PLMS', 'UniPC', 'LMS', 'DDIM', 'Heun', 'DPM2 a', 'LCM']) {
    const { latents } = await pipe.generate({
      ...small,
      scheduler,
      prompt: 'a [red:blue:0.5] circle AND a [green|yellow] star :0.5',
      negativePrompt: '[a:b:0.5]',
    })
    t.true(Number.isFinite(latents.abs().max().item()), scheduler)
  }
})

test('a run with a schedule is the run by hand', async (t) => {
  const [red, blue, none] = await Promise.all(['a red star', 'a blue star', ''].map(embedsOf))
  const scheduler = pipe.scheduler.clone()
  scheduler.setTimesteps(4)
  let latents = new Generator(7).randn([1, 4, 16, 16]).mul(scheduler.initNoiseSigma)
  for (const [i, timestep] of scheduler.timesteps.entries()) {
    const encoderHiddenStates = Tensor.cat([none, i <= 2 ? red : blue] as Tensor[])
    const input = scheduler.scaleModelInput(Tensor.cat([latents, latents]), timestep)
    const [uncond, cond] = (await pipe.unet.forward(input, timestep, { encoderHiddenStates })).sample.chunk(2)
    const guided = Tensor.linearCombination([
      [1 - 7.5, uncond],
      [7.5, cond],
    ])
    latents = scheduler.step(guided, timestep, latents).prevSample
  }
  const made = await pipe.generate({ ...small, prompt: 'a [red:blue:2] star' })
  t.deepEqual(bytes(made.latents), bytes(latents))
})

test('AND is one guidance for each part, with its weight', async (t) => {
  const [red, star, none] = await Promise.all(['red', 'a star', ''].map(embedsOf))
  const scheduler = pipe.scheduler.clone()
  scheduler.setTimesteps(3)
  let latents = new Generator(7).randn([1, 4, 16, 16]).mul(scheduler.initNoiseSigma)
  for (const timestep of scheduler.timesteps) {
    const encoderHiddenStates = Tensor.cat([none, red, star] as Tensor[])
    const input = scheduler.scaleModelInput(Tensor.cat([latents, latents, latents]), timestep)
    const [uncond, first, second] = (await pipe.unet.forward(input, timestep, { encoderHiddenStates })).sample.chunk(3)
    const guided = uncond.add(first.sub(uncond).mul(5 * 0.6)).add(second.sub(uncond).mul(5))
    latents = scheduler.step(guided, timestep, latents).prevSample
  }
  const made = await pipe.generate({ ...small, numInferenceSteps: 3, guidanceScale: 5, prompt: 'red :0.6 AND a star' })
  // the same sums in another order: a few roundings of f32 for each step
  t.true(made.latents.sub(latents).abs().max().item() < 1e-4)
})

test('prompts of a batch have parts, weights and schedules of their own', async (t) => {
  const prompts = ['a red circle', '[red:blue:0.5] AND a star :0.7', 'green :0.5 AND a ring AND white']
  const together = await pipe.generate({ ...small, prompt: prompts, numImagesPerPrompt: 2 })
  for (const [i, prompt] of prompts.entries()) {
    const alone = await pipe.generate({ ...small, prompt, seed: 7 + 2 * i })
    // another size of batch may round otherwise, in a few roundings of f32 for each step
    t.true(
      together.latents
        .slice(0, 2 * i, 2 * i + 1)
        .sub(alone.latents)
        .abs()
        .max()
        .item() < 1e-3,
      prompt,
    )
  }
})

test('a seed sweep of 20 pictures encodes its prompts once', async (t) => {
  await using own = await StableDiffusionPipeline.fromPretrained('shapes')
  const forward = own.textEncoder.forward.bind(own.textEncoder)
  let calls = 0
  own.textEncoder.forward = (...given): ReturnType<typeof forward> => {
    calls += 1
    return forward(...given)
  }
  for (let seed = 0; seed < 20; seed += 1) {
    await own.generate({ ...small, numInferenceSteps: 1, prompt: 'an (orange:1.1) star', negativePrompt: 'blue', seed })
  }
  t.is(calls, 3, 'the prompt, its negative, and the empty one')
})

test('a conditioning is the same as its prompt, any number of times', async (t) => {
  const options = { ...small, promptSyntax: undefined }
  using conditioning = await pipe.encodePrompt('a [red:(blue:1.2):0.5] star AND white', {
    syntax: 'a1111',
    steps: 4,
    negativePrompt: 'ugly',
  })
  const expected = await pipe.generate({ ...small, prompt: 'a [red:(blue:1.2):0.5] star AND white', negativePrompt: 'ugly' })
  for (let i = 0; i < 2; i += 1) {
    t.deepEqual(bytes((await pipe.generate({ ...options, conditioning })).latents), bytes(expected.latents))
  }
  const { images } = await pipe.generate({ numInferenceSteps: 4, seed: 7, conditioning })
  t.is(images[0].parameters?.prompt, 'a [red:(blue:1.2):0.5] star AND white')
  t.is(images[0].parameters?.promptSyntax, 'a1111')
  await t.throwsAsync(async () => pipe.generate({ ...options, numInferenceSteps: 5, conditioning }), {
    code: 'ERR_INVALID_ARGUMENT',
    message: /^Expected a Conditioning for 5 UNet calls for conditioning but received "one whose schedule is for 4"/,
  })
  const refused: [TextToImageOptions, RegExp][] = [
    [{ conditioning, prompt: 'a' }, /exactly one of prompt, conditioning and promptEmbeds/],
    [{ conditioning, negativePrompt: 'a' }, /nothing beside conditioning.* for negativePrompt/],
    [{ conditioning, promptSyntax: 'compel' }, /nothing beside conditioning.* for promptSyntax/],
    [{ conditioning: {} as Conditioning }, /a Conditioning for conditioning/],
  ]
  for (const [wrong, message] of refused) {
    await t.throwsAsync(async () => pipe.generate(wrong), { code: 'ERR_INVALID_ARGUMENT', message })
  }
})

test('a delayed negative prompt gives way to the empty one at first', async (t) => {
  for (const promptSyntax of ['plain', 'a1111', 'compel'] as const) {
    const run = (options: CommonOptions): PromiseLike<unknown> =>
      pipe.generate({
        ...small,
        promptSyntax,
        numInferenceSteps: 10,
        prompt: 'a',
        negativePrompt: 'red',
        negativePromptFrom: 0.3,
        ...options,
      })
    t.deepEqual(await textsOfRun(run, ['', 'red'], 'negativePromptEmbeds'), [...times(3, ''), ...times(7, 'red')], promptSyntax)
  }
})

test('guidance follows a list, a function or an interval, and costs half where it is off', async (t) => {
  await using own = await StableDiffusionPipeline.fromPretrained('shapes')
  const record = async (guidanceScale: TextToImageOptions['guidanceScale'], scheduler = 'Euler'): Promise<[number[], number[]]> => {
    const scales: number[] = []
    const rows: number[] = []
    const forward = own.unet.forward.bind(pipe.unet)
    own.unet.forward = (sample, ...rest): ReturnType<typeof forward> => {
      rows.push(sample.shape[0] ?? 0)
      return forward(sample, ...rest)
    }
    const callbackOnStepEnd = (_pipe: unknown, _index: number, _timestep: number, state: StepState): void =>
      void scales.push(state.guidanceScale)
    await own.generate({ ...small, scheduler, prompt: 'a star', guidanceScale, callbackOnStepEnd })
    own.unet.forward = forward
    return [scales, rows]
  }
  t.deepEqual(await record([7, 3, 1]), [
    [7, 3, 1, 1],
    [2, 2, 1, 1],
  ])
  t.deepEqual(await record({ scale: 6, from: 0.25, to: 0.75 }), [
    [1, 6, 6, 1],
    [1, 2, 2, 1],
  ])
  t.deepEqual((await record(({ index, total }) => total - index))[0], [4, 3, 2, 1])
  t.deepEqual((await record([7, 3, 2, 1], 'Heun'))[0], [7, 7, 3, 3, 2, 2, 1])
  const one = await pipe.generate({ ...small, prompt: 'a star', guidanceScale: [4] })
  const same = await pipe.generate({ ...small, prompt: 'a star', guidanceScale: 4 })
  t.deepEqual(bytes(one.latents), bytes(same.latents))
  await t.throwsAsync(async () => pipe.generate({ ...small, prompt: 'a', guidanceScale: () => Number.NaN }), {
    message: /^Expected a finite number for guidanceScale of step 0 but received NaN/,
  })
  await t.throwsAsync(async () => pipe.generate({ ...small, prompt: 'a', guidanceScale: [] }), {
    message: /for guidanceScale but received \[\]/,
  })
})

test('wildcards choose by the seed of each image, and styles surround the prompt', async (t) => {
  const options = { numInferenceSteps: 1, prompt: 'a {red|blue|green} __shape__', wildcards: { shape: ['star', 'ring', 'circle'] } }
  const parameters = async (more: TextToImageOptions): Promise<unknown[]> =>
    (await pipe.generate({ ...options, ...more, outputType: 'image' })).images.map((image) => image.parameters?.prompt)
  const four = await parameters({ seed: 3, numImagesPerPrompt: 4 })
  t.deepEqual(await parameters({ seed: 5 }), [four[2]])
  t.true(new Set(four).size > 1)
  t.true(four.every((text) => /^a (red|blue|green) (star|ring|circle)$/.test(String(text))))
  const { images } = await pipe.generate({
    numInferenceSteps: 1,
    prompt: 'a star',
    styles: [
      { name: 'flat', prompt: 'flat {prompt} on white', negativePrompt: 'gradient' },
      { name: 'big', prompt: 'large' },
    ],
  })
  t.is(images[0].parameters?.prompt, 'flat a star on white, large')
  t.is(images[0].parameters?.negativePrompt, 'gradient')
  await t.throwsAsync(async () => pipe.generate({ ...options, wildcards: {} }), { message: /__shape__|name of a wildcard[\s\S]*\^/ })
})

test('bad prompts are refused with their place', async (t) => {
  const refused: [TextToImageOptions, RegExp][] = [
    [{ prompt: 'a <lora:nobody:0.8> star' }, /for <lora:nobody> but received "nobody" at character 8 of the prompt:\n.*\n +\^$/],
    [{ prompt: 'a (red:1.2.3) star' }, /number for the weight but received '1\.2\.3' at character 6[\s\S]*\^/],
    [{ prompt: '("a", "b").blend(x)', promptSyntax: 'compel' }, /\^/],
    [
      { prompt: 'a', promptSyntax: 'a1112' as 'a1111' },
      /^Expected 'plain', 'a1111', 'compel' or 'lpw' for promptSyntax but received "a1112"/,
    ],
    [{ prompt: 'a', promptSyntax: { name: 'compel', emphasis: 'x' } as never }, /for a key of promptSyntax but received "emphasis"/],
    [{ prompt: 'a', negativePromptFrom: 2 }, /for negativePromptFrom but received 2/],
  ]
  for (const [options, message] of refused) {
    await t.throwsAsync(async () => pipe.generate({ ...small, ...options, outputType: 'latent' }), {
      code: 'ERR_INVALID_ARGUMENT',
      message,
    })
  }
  await t.throwsAsync(encodePrompt({} as never, 'a'), { message: /for components/ })
})
