import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import {
  CLIPTextModel,
  CLIPTextModelWithProjection,
  CLIPTokenizer,
  Conditioning,
  encodePrompt,
  PromptCache,
  type PromptSyntax,
  Tensor,
  type TextComponents,
} from '../../ts/index.ts'
import { parityPack } from '../parity/pack.ts'

const scratch = await mkdtemp(join(tmpdir(), 'node-diffusion-conditioning-'))

const components: TextComponents = {
  tokenizer: await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' }),
  textEncoder: await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' }),
}
const xl = join(parityPack(), 'pipelines', 'tiny-sdxl')
const componentsXL = {
  tokenizer: await CLIPTokenizer.fromPretrained(xl, { subfolder: 'tokenizer' }),
  textEncoder: await CLIPTextModel.fromPretrained(xl, { subfolder: 'text_encoder' }),
  tokenizer2: await CLIPTokenizer.fromPretrained(xl, { subfolder: 'tokenizer_2' }),
  textEncoder2: await CLIPTextModelWithProjection.fromPretrained(xl, { subfolder: 'text_encoder_2' }),
}
test.after.always(() => rm(scratch, { recursive: true, force: true }))

const all = ['plain', 'a1111', 'compel', 'lpw'] as const
const bytes = (tensor: Tensor): Uint8Array => new Uint8Array(tensor.toArray<Float32Array>().buffer)
const distance = (a: Tensor, b: Tensor): number => a.sub(b).abs().max().item()

test('a text without weights is the same in every syntax, bit for bit', async (t) => {
  for (const text of ['a red circle on a blue background', '', 'a star']) {
    const plain = await encodePrompt(components, text, { negativePrompt: 'a square' })
    for (const syntax of all) {
      const other = await encodePrompt(components, text, { syntax, negativePrompt: 'a square' })
      t.deepEqual(bytes(other.promptEmbeds), bytes(plain.promptEmbeds), `${syntax} ${text}`)
      t.deepEqual(bytes(other.negativePromptEmbeds), bytes(plain.negativePromptEmbeds), syntax)
    }
  }
  const weighted = await encodePrompt(components, 'a (red:1.0) circle', { syntax: 'a1111' })
  const pieces = await encodePrompt(components, 'a red circle', {})
  t.deepEqual(bytes(weighted.promptEmbeds), bytes(pieces.promptEmbeds))
})

test('SDXL: a text without weights is the same in every syntax that pads to 77', async (t) => {
  const plain = await encodePrompt(componentsXL, 'a cat', { negativePrompt: 'bad' })
  for (const syntax of ['a1111', 'compel'] as const) {
    const other = await encodePrompt(componentsXL, 'a cat', { syntax, negativePrompt: 'bad' })
    for (const [name, tensor] of Object.entries(plain.at())) {
      t.deepEqual(bytes(other.at()[name as 'promptEmbeds']), bytes(tensor as Tensor), `${syntax} ${name}`)
    }
  }
})

test('SDXL: an absent negative prompt is zeros where the reference says so', async (t) => {
  const largest = async (syntax: PromptSyntax, negativePrompt?: string): Promise<number[]> => {
    const { negativePromptEmbeds, negativePooledPromptEmbeds } = await encodePrompt(componentsXL, 'a cat', { syntax, negativePrompt })
    return [negativePromptEmbeds, negativePooledPromptEmbeds].map((tensor) => tensor.abs().max().item())
  }
  for (const syntax of ['plain', 'compel', 'a1111'] as const) {
    t.deepEqual(await largest(syntax), [0, 0], syntax)
  }
  t.deepEqual(await largest('a1111', ''), [0, 0])
  for (const syntax of ['plain', 'compel', 'lpw'] as const) {
    t.true(
      (await largest(syntax, '')).every((value) => value > 0),
      syntax,
    )
  }
})

test('a conditioning tells tokens with weights, chunks, what was cut, and the schedule', async (t) => {
  const read = await encodePrompt(components, 'a (red:1.3) [circle:star:0.5]', { syntax: 'a1111', steps: 10 })
  t.deepEqual(
    read.tokens().map((chunk) => chunk.map(({ token, weight }) => [token, weight])),
    [
      [
        ['a</w>', 1],
        ['red</w>', 1.3],
        ['circle</w>', 1],
      ],
    ],
  )
  t.deepEqual(
    read.prompts[0]?.parts[0]?.texts.map(({ until, text }) => [until, text]),
    [
      [5, 'a (red:1.3) circle'],
      [Number.POSITIVE_INFINITY, 'a (red:1.3) star'],
    ],
  )
  t.is(read.steps, 10)
  const long = `${'red '.repeat(80)}star`
  const chunked = await encodePrompt(components, long, { syntax: 'a1111' })
  t.deepEqual(
    chunked.tokens().map((chunk) => chunk.length),
    [75, 6],
  )
  t.deepEqual(chunked.truncated, [])
  t.deepEqual(chunked.promptEmbeds.shape.slice(0, 2), [1, 154])
  t.deepEqual(chunked.negativePromptEmbeds.shape.slice(0, 2), [1, 154])
  const cut = await encodePrompt(components, long)
  t.regex(cut.truncated[0] ?? '', /^red .* star$/)
  t.is(cut.tokens()[0]?.length, 75)
})

test('schedules count UNet calls from 0, as the web UI does, or from 1', async (t) => {
  const untils = async (syntax: PromptSyntax, prompt: string, steps: number): Promise<unknown> =>
    (await encodePrompt(components, prompt, { syntax, steps })).prompts[0]?.parts[0]?.texts.map(({ until, text }) => [until, text])
  const end = Number.POSITIVE_INFINITY
  t.deepEqual(await untils('a1111', '[cat:dog:0.5]', 10), [
    [5, 'cat'],
    [end, 'dog'],
  ])
  t.deepEqual(await untils({ name: 'a1111', firstStep: 1 }, '[cat:dog:0.5]', 10), [
    [4, 'cat'],
    [end, 'dog'],
  ])
  t.deepEqual(await untils('a1111', '[cat|dog]', 4), [
    [1, 'cat'],
    [2, 'dog'],
    [3, 'cat'],
    [end, 'dog'],
  ])
})

test('clip skip counts as each syntax counts', async (t) => {
  const text = 'a red circle'
  const plain = await encodePrompt(components, text, { clipSkip: 1 })
  const webui = await encodePrompt(components, text, { syntax: 'a1111', clipSkip: 2 })
  t.deepEqual(bytes(webui.promptEmbeds), bytes(plain.promptEmbeds))
  const last = await encodePrompt(components, text, { syntax: 'a1111', clipSkip: 1 })
  t.deepEqual(bytes(last.promptEmbeds), bytes((await encodePrompt(components, text)).promptEmbeds))
  t.deepEqual(bytes(plain.negativePromptEmbeds), bytes((await encodePrompt(components, text)).negativePromptEmbeds))
  await t.throwsAsync(encodePrompt(components, text, { syntax: 'a1111', clipSkip: 0 }), {
    message: /from 1 to \d+, as .* for clipSkip but received 0/,
  })
})

test('conditionings blend and interpolate', async (t) => {
  const [cat, dog] = [await encodePrompt(components, 'a red circle'), await encodePrompt(components, 'a blue star')]
  t.true(distance(cat.lerp(dog, 0).promptEmbeds, cat.promptEmbeds) === 0)
  t.true(distance(cat.lerp(dog, 1).promptEmbeds, dog.promptEmbeds) === 0)
  t.true(distance(cat.slerp(dog, 1).promptEmbeds, dog.promptEmbeds) < 1e-5)
  const mixed = Conditioning.blend([cat, dog], [1, 3])
  t.true(distance(mixed.promptEmbeds, cat.lerp(dog, 0.75).promptEmbeds) < 1e-6)
  const compel = await encodePrompt(components, '("a red circle", "a blue star").blend(1, 3)', { syntax: 'compel' })
  t.true(distance(mixed.promptEmbeds, compel.promptEmbeds) < 1e-5)
  const norm = (tensor: Tensor): number => tensor.mul(tensor).sum().sqrt().item()
  const middle = norm(cat.slerp(dog, 0.5).promptEmbeds) / ((norm(cat.promptEmbeds) + norm(dog.promptEmbeds)) / 2)
  t.true(Math.abs(middle - 1) < 0.02, `${middle}`)
  const long = await encodePrompt(components, 'red '.repeat(80), { syntax: 'a1111' })
  const short = await encodePrompt(components, '[red:blue:3]', { syntax: 'a1111', steps: 10 })
  const both = long.lerp(short, 0.5)
  t.is(both.length, 154)
  t.deepEqual(
    both.prompts[0]?.parts[0]?.texts.map(({ until }) => until),
    [3, Number.POSITIVE_INFINITY],
  )
  t.throws(() => Conditioning.blend([cat, dog], []), { message: /2 finite numbers for weights/ })
  t.throws(() => Conditioning.blend([cat, dog], [1, -1]), { message: /sum is not 0/ })
  t.throws(() => cat.lerp(dog, Number.NaN), { message: /for share/ })
})

test('a conditioning survives its file', async (t) => {
  const path = join(scratch, 'c.safetensors')
  const options = { syntax: 'a1111', steps: 10, negativePrompt: 'ugly', negativePromptFrom: 0.3 } as const
  const saved = await encodePrompt(componentsXL, 'a [red:blue:0.5] cat AND (a dog:1.2) :0.4', options)
  await saved.save(path)
  const loaded = await Conditioning.load(path)
  t.deepEqual(
    [loaded.syntax, loaded.steps, loaded.negativeFrom, loaded.length],
    [saved.syntax, saved.steps, saved.negativeFrom, saved.length],
  )
  t.deepEqual(loaded.tokens(), saved.tokens())
  for (const call of [0, 9]) {
    for (const [name, tensor] of Object.entries(saved.at(call))) {
      t.deepEqual(bytes(loaded.at(call)[name as 'promptEmbeds']), bytes(tensor as Tensor), name)
    }
  }
  await Tensor.saveSafetensors(join(scratch, 'other.safetensors'), { conditioning: Tensor.from(new Uint8Array([123])) })
  await t.throwsAsync(Conditioning.load(join(scratch, 'other.safetensors')), {
    code: 'ERR_WEIGHTS',
    message: /written by Conditioning\.save/,
  })
})

test('a cache encodes the same text once, until the encoder is another', async (t) => {
  let calls = 0
  const tokenizer = components.tokenizer.clone()
  const textEncoder = await CLIPTextModel.fromPretrained('shapes', { subfolder: 'text_encoder' })
  const forward = textEncoder.forward.bind(textEncoder)
  textEncoder.forward = (...call): ReturnType<typeof forward> => {
    calls += 1
    return forward(...call)
  }
  const cache = new PromptCache({ size: 3 })
  const encode = async (text: string): Promise<number> => {
    const before = calls
    using _ = await encodePrompt({ tokenizer, textEncoder }, text, { cache })
    return calls - before
  }
  t.is(await encode('a red circle'), 2)
  t.is(await encode('a red circle'), 0)
  t.is(await encode('a blue circle'), 1)
  tokenizer.addTokens('sks')
  t.is(await encode('a red circle'), 2)
  t.is(cache.length, 3)
  t.is(await encode('a green circle'), 1)
  t.is(await encode('a yellow circle'), 1)
  t.is(await encode('a red circle'), 1, 'the least recently used one had to go')
  cache.dispose()
  t.is(cache.length, 0)
})
