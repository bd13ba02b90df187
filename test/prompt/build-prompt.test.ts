import test from 'ava'
import { buildPrompt, CLIPTokenizer, countTokens, expandPrompt, expansionMessages, parseAttention, parseExpansion } from '../../ts/index.ts'

const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })

test('a prompt is written from nine categories in their order', (t) => {
  const { prompt, negativePrompt, dropped } = buildPrompt({
    lighting: 'rim lighting',
    subject: { text: 'a lighthouse', weight: 1.3 },
    medium: 'oil painting',
    artist: ['Turner', 'Monet'],
    color: ['blue', 'gold'],
  })
  t.is(prompt, '(a lighthouse:1.3), oil painting, by Turner and Monet, blue, gold, rim lighting')
  t.regex(negativePrompt, /blurry/)
  t.deepEqual(dropped, [])
  t.regex(buildPrompt({ subject: 'a girl', medium: 'anime' }).prompt, /^masterpiece, best quality, \(Anime:1\.4\), a girl/)
  t.regex(buildPrompt({ subject: 'a girl', medium: 'photo' }).prompt, /^\(\(\(photographic/)
})

test('a token limit leaves out keywords from the end', (t) => {
  const details = Array.from({ length: 60 }, (_, i) => `a small red detail ${i}`)
  const { prompt, dropped } = buildPrompt({ subject: 'a circle', details, lighting: 'dark' }, { tokenizer, tokenLimit: 75 })
  t.true(countTokens(tokenizer, prompt) <= 75)
  t.true(prompt.startsWith('a circle, a small red detail 0, '))
  t.is(dropped.at(-1), 'dark')
  t.is(`${prompt}, ${dropped.join(', ')}`, buildPrompt({ subject: 'a circle', details, lighting: 'dark' }).prompt)
})

test('bad keywords are refused', (t) => {
  t.throws(() => buildPrompt({} as never), { message: /^Expected a text for subject/ })
  t.throws(() => buildPrompt({ subject: '' }), { message: /for subject but received ""/ })
  t.throws(() => buildPrompt({ subject: 'a', colour: 'red' } as never), { message: /one of subject, medium.* but received "colour"/ })
  t.throws(() => buildPrompt({ subject: 'a', color: { text: 'red', weight: Number.NaN } }), { message: /for color/ })
})

test('any language model expands a subject', async (t) => {
  const asked: string[] = []
  const built = await expandPrompt('a harbour', {
    tokenizer,
    tokenLimit: 20,
    llm: async (messages) => {
      asked.push(...messages.map(({ role, content }) => `${role}: ${content}`))
      return `Positive Prompt: ${'old harbour at dawn, '.repeat(10)}\nNegative Prompt: blurry, "text"`
    },
  })
  t.regex(asked[0] ?? '', /^system: .*at most 20 tokens/s)
  t.is(asked[1], 'user: a harbour')
  t.is(built.negativePrompt, 'blurry, text')
  t.true(countTokens(tokenizer, built.prompt) <= 20)
  t.true(built.dropped.length > 0)
  t.is(expansionMessages('x').length, 2)
})

test('answers are read as models write them', (t) => {
  const read = (answer: string): string[] => Object.values(parseExpansion(answer))
  t.deepEqual(read('Positive Prompt: a, b\nNegative Prompt: c, d'), ['a, b', 'c, d'])
  t.deepEqual(read('**Positive prompt:** "a, b,"\n\n**Negative Prompt**: "c"'), ['a, b', 'c'])
  t.deepEqual(read('Sure! Here it is.\n\nPOSITIVE PROMPT:\n```\na, b\n```\nNEGATIVE PROMPT:\n```\nc\n```'), ['a, b', 'c'])
  t.deepEqual(read('## Positive Prompt\n- Subject: a\n- Color: blue\n## Negative Prompt\nc'), ['a, blue', 'c'])
  t.deepEqual(read('a realistic photo of a woman, river.'), ['a realistic photo of a woman, river', ''])
  const unbalanced = '((photo, photogenic))), (woman:1.2, river, a)) b'
  t.deepEqual(read(`Positive Prompt: ${unbalanced}\nNegative Prompt: ((bad`), [unbalanced, '((bad'])
  t.notThrows(() => parseAttention(unbalanced))
  t.throws(() => parseExpansion('Negative Prompt: a'), { code: 'ERR_INVALID_ARGUMENT', message: /a positive prompt/ })
  t.throws(() => parseExpansion(7), { message: /a text for the answer of llm but received 7/ })
})

test('a model that fails or answers nothing gives its error', async (t) => {
  await t.throwsAsync(expandPrompt('a', { llm: async () => '' }), { message: /a positive prompt in it/ })
  await t.throwsAsync(expandPrompt('a', { llm: () => Promise.reject(new Error('offline')) }), { message: 'offline' })
  await t.throwsAsync(expandPrompt('a', {} as never), { message: /a function for llm/ })
})
