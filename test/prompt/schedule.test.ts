import test from 'ava'
import { promptSchedule } from '../../ts/prompt/schedule.ts'

/** Processor time of this process in ms, which other programs do not disturb. */
const cpuMs = (): number => process.cpuUsage().user / 1000

/** The web UI's own documented examples, at 10 steps. */
const DOCUMENTED: [string, [number, string][]][] = [
  ['test', [[10, 'test']]],
  [
    'a [b:3]',
    [
      [3, 'a '],
      [10, 'a b'],
    ],
  ],
  [
    'a [b: 3]',
    [
      [3, 'a '],
      [10, 'a b'],
    ],
  ],
  [
    'a [[[b]]:2]',
    [
      [2, 'a '],
      [10, 'a [[b]]'],
    ],
  ],
  [
    '[(a:2):3]',
    [
      [3, ''],
      [10, '(a:2)'],
    ],
  ],
  [
    'a [b : c : 1] d',
    [
      [1, 'a b  d'],
      [10, 'a  c  d'],
    ],
  ],
  [
    'a[b:[c:d:2]:1]e',
    [
      [1, 'abe'],
      [2, 'ace'],
      [10, 'ade'],
    ],
  ],
  ['a [unbalanced', [[10, 'a [unbalanced']]],
  [
    'a [b:.5] c',
    [
      [5, 'a  c'],
      [10, 'a b c'],
    ],
  ],
  [
    '((a][:b:c [d:3]',
    [
      [3, '((a][:b:c '],
      [10, '((a][:b:c d'],
    ],
  ],
  ['[a|(b:1.1)]', Array.from({ length: 10 }, (_, i) => [i + 1, i % 2 === 0 ? 'a' : '(b:1.1)'])],
  ['[fe|]male', Array.from({ length: 10 }, (_, i) => [i + 1, i % 2 === 0 ? 'female' : 'male'])],
  ['[fe|||]male', Array.from({ length: 10 }, (_, i) => [i + 1, i % 4 === 0 ? 'female' : 'male'])],
]

for (const [prompt, expected] of DOCUMENTED) {
  test(`the web UI reads ${prompt}`, (t) => {
    t.deepEqual(
      promptSchedule(prompt, 10).map(({ endAtStep, text }) => [endAtStep, text]),
      expected,
    )
  })
}

test('a longer run unfolds every switch', (t) => {
  const prompt =
    'fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75][ in foreground::0.6][ in background:0.25] [shoddy:masterful:0.5]'
  t.deepEqual(promptSchedule(prompt, 100), [
    { endAtStep: 25, text: 'fantasy landscape with a mountain and an oak in foreground shoddy' },
    { endAtStep: 50, text: 'fantasy landscape with a lake and an oak in foreground in background shoddy' },
    { endAtStep: 60, text: 'fantasy landscape with a lake and an oak in foreground in background masterful' },
    { endAtStep: 75, text: 'fantasy landscape with a lake and an oak in background masterful' },
    { endAtStep: 100, text: 'fantasy landscape with a lake and a christmas tree in background masterful' },
  ])
})

test('a megabyte of brackets takes linear time', (t) => {
  for (const unit of ['[', '[a', '[a]', '(', ']', '[a:', '[a|']) {
    const started = cpuMs()
    promptSchedule(unit.repeat(1_000_000 / unit.length), 20)
    // well under 1 s on a quiet machine; a quadratic reader would take hours
    t.true(cpuMs() - started < 10_000, `${unit}: ${cpuMs() - started} ms`)
  }
})
