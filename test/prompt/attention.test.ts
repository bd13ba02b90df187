import test from 'ava'
import { InvalidArgumentError } from '../../ts/errors.ts'
import { parseAttention, printAttention } from '../../ts/prompt/attention.ts'

/** Processor time of this process in ms, which other programs do not disturb. */
const cpuMs = (): number => process.cpuUsage().user / 1000

test('brackets weigh as the web UI documents', (t) => {
  t.deepEqual(parseAttention('a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).'), [
    ['a ', 1],
    ['house', 1.5730000000000004],
    [' ', 1.1],
    ['on', 1],
    [' a ', 1.1],
    ['hill', 0.55],
    [', sun, ', 1.1],
    ['sky', 1.4641000000000006],
    ['.', 1.1],
  ])
  t.deepEqual(parseAttention('\\(literal\\]'), [['(literal]', 1]])
  t.deepEqual(parseAttention('(unbalanced'), [['unbalanced', 1.1]])
  t.deepEqual(parseAttention('a BREAK b'), [
    ['a', 1],
    ['BREAK', -1],
    ['b', 1],
  ])
})

test('a weight that is no number is an error that shows the place', (t) => {
  const error = t.throws(() => parseAttention('a cat, (a dog:1.2.3)'), { instanceOf: InvalidArgumentError, code: 'ERR_INVALID_ARGUMENT' })
  t.true(error.message.includes("'1.2.3'") && error.message.endsWith('^'), error.message)
})

function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}
const UNITS = ['(', ')', '[', ']', ':', '1.2', ' ', 'a', 'cat', '\\', ',', 'BREAK', '-', '.', '|', 'é', '🐈']

test('any string parses or throws the typed error, printing is stable and loses nothing', (t) => {
  const next = random(7)
  for (let i = 0; i < 100_000; i += 1) {
    const text = Array.from({ length: Math.floor(next() * 12) }, () => UNITS[Math.floor(next() * UNITS.length)]).join('')
    try {
      const pieces = parseAttention(text)
      const again = parseAttention(printAttention(pieces))
      const plain = (list: typeof pieces): string => list.map(([piece]) => piece).join('')
      if (pieces.every(([piece, weight]) => weight >= 0 && !piece.includes('BREAK') && !String(weight).includes('e'))) {
        t.is(plain(again), plain(pieces), text)
      }
    } catch (error) {
      t.true(error instanceof InvalidArgumentError, `${text}: ${String(error)}`)
    }
  }
})

test('a megabyte of brackets takes linear time', (t) => {
  // about 1 s at most on a quiet machine; a quadratic reader would take hours
  const most = 10_000
  for (const unit of ['(', ')', '()', '[', '[]', '(a)', '(a:1.1)', ':', ': ', '\\', 'BREAK ', ' ']) {
    const started = cpuMs()
    parseAttention(unit.repeat(1_000_000 / unit.length))
    t.true(cpuMs() - started < most, `${unit}: ${cpuMs() - started} ms`)
  }
})

test('brackets nested too deeply are refused where they become so, not after all of the prompt', (t) => {
  // 3163 brackets multiply 3163 * 3162 / 2 pieces by the end, which is more than 5 million.
  const refusal = { code: 'ERR_INVALID_ARGUMENT', message: /nested less deeply at character 6323 / }
  t.throws(() => parseAttention('(a'.repeat(500_000)), refusal)
  t.throws(() => parseAttention('[a'.repeat(500_000)), refusal)
  t.throws(() => parseAttention(`${'(a'.repeat(3162)})`.repeat(2)), { code: 'ERR_INVALID_ARGUMENT', message: /nested less deeply/ })
  t.is(parseAttention('(a'.repeat(3000)).length, 3000)
})
