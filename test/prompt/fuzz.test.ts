import test from 'ava'
import {
  DiffusionError,
  describePrompt,
  expandWildcards,
  extractLoras,
  parseAttention,
  parseCompel,
  parseExpansion,
  printAttention,
  promptSchedule,
  splitAnd,
} from '../../ts/index.ts'
import { CLIPTokenizer } from '../../ts/models/clip-tokenizer.ts'
import { Dice } from '../judge/random.ts'

const tokenizer = await CLIPTokenizer.fromPretrained('shapes', { subfolder: 'tokenizer' })

const pieces = [
  ...['(', ')', '[', ']', ':', '|', '\\', '"', ',', '.', '+', '-', '<', '>', '{', '}', '_', '$', '\n', ' ', '  '],
  ...['a', 'red', '猫', '😀', '\u0000', '\ud800', '1', '0.5', ':1.3)', ':0.5]', '(a:1.2)', '[a:b:3]', '[a|b]', '++', '--', '1e5', '-7'],
  ...[
    ' AND ',
    'BREAK',
    '<lora:x:0.8>',
    '<lora:',
    '__color__',
    '{a|b}',
    '{2$$a|b|c}',
    '.blend(',
    '.and(',
    '.swap(b)',
    '("a", "b")',
    'no_normalize',
  ],
]
const lines = { color: ['red', '__color__'] }

/** Every reading of a text; only typed errors may come out. */
const readers: Record<string, (text: string) => unknown> = {
  attention: (text) => parseAttention(text),
  lpw: (text) => parseAttention(text, 'lpw'),
  schedule: (text) => promptSchedule(text, 7),
  compel: (text) => parseCompel(text),
  and: (text) => splitAnd(text),
  loras: (text) => extractLoras(text),
  wildcards: (text) => expandWildcards(text, 1, lines),
  expansion: (text) => parseExpansion(text),
}

function randomText(dice: Dice): string {
  return Array.from({ length: Math.floor(dice.next() * 14) }, () => dice.pick(pieces)).join('')
}

test('100,000 random texts are read or refused with a typed error', (t) => {
  t.timeout(600_000)
  const dice = new Dice(1)
  const surprises: string[] = []
  const refused: Record<string, number> = {}
  for (let i = 0; i < 100_000; i += 1) {
    const text = randomText(dice)
    for (const [name, read] of Object.entries(readers)) {
      if (name === 'wildcards' && i % 20 > 0) continue // each draws from a native generator
      try {
        read(text)
      } catch (error) {
        refused[name] = (refused[name] ?? 0) + 1
        if (!(error instanceof DiffusionError)) {
          surprises.push(`${name} ${JSON.stringify(text)}: ${String(error)}`)
        }
      }
    }
  }
  t.log(`refused of 100,000: ${JSON.stringify(refused)}`)
  t.deepEqual(surprises.slice(0, 5), [])
  t.is(refused.schedule, undefined, 'the web UI takes a broken schedule as text')
})

test('printing what was parsed parses to the same, and nothing is lost', (t) => {
  const dice = new Dice(2)
  for (let i = 0; i < 5000; i += 1) {
    const text = randomText(dice)
    let read: ReturnType<typeof parseAttention>
    try {
      read = parseAttention(text)
    } catch {
      continue
    }
    const printed = printAttention(read)
    t.deepEqual(joined(parseAttention(printed)), joined(read), JSON.stringify([text, printed]))
  }
})

/** Text by weight: without empty pieces, neighbours of equal weight as one. */
function joined(read: ReturnType<typeof parseAttention>): [string, number][] {
  const merged: [string, number][] = []
  for (const [text, weight] of read) {
    const last = merged.at(-1)
    if (last !== undefined && last[1] === weight) {
      last[0] += text
    } else if (text !== '') {
      merged.push([text, weight])
    }
  }
  return merged
}

test('random prompts are described in every syntax', (t) => {
  const dice = new Dice(3)
  for (let i = 0; i < 100; i += 1) {
    const text = randomText(dice)
    for (const syntax of ['plain', 'a1111', 'compel', 'lpw'] as const) {
      try {
        const { parts } = describePrompt(tokenizer, text, { syntax, steps: 5 })
        t.true(
          parts.every(({ texts }) => texts[0]?.firstCall === 1 && texts.at(-1)?.lastCall === 5),
          `${syntax} ${JSON.stringify(text)}`,
        )
      } catch (error) {
        t.true(error instanceof DiffusionError, `${syntax} ${JSON.stringify(text)}: ${String(error)}`)
      }
    }
  }
})

test('reading takes time in proportion to the length', (t) => {
  t.timeout(600_000)
  const cpu = (work: () => unknown): number => {
    const start = process.cpuUsage()
    try {
      work()
    } catch (error) {
      t.true(error instanceof DiffusionError, String(error))
    }
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1e6
  }
  const megabyte = 2 ** 20
  for (const unit of ['(', '[', '()', '(a)', '(a)+ ', '"a"', 'a.swap(', '[a:b:0.5]', '(a:1.1)']) {
    const text = unit.repeat(Math.ceil(megabyte / unit.length))
    for (const [name, read] of Object.entries(readers)) {
      const seconds = cpu(() => read(text))
      // under 1 s on a quiet machine; a quadratic reader would take hours
      t.true(seconds < 10, `${name} of a megabyte of ${unit}: ${seconds} s`)
    }
  }
})
