import { Generator } from '../random.ts'
import { promptError } from './place.ts'

/** Where `__name__` gets its lines from. */
export type Wildcards = Readonly<Record<string, readonly string[]>>

const INNERMOST = /\{([^{}]*)\}/
const NAME = /__([\w/-]+?)__/
const COUNT = /^(\d+)\$\$/
/** Wildcards may name wildcards; a circle among them would not end. */
const MOST_EXPANSIONS = 1000

/**
 * Chooses among `{a|b|c}` and replaces `__name__` by a line of that wildcard; the same seed makes the same choices.
 *
 * `{2$$a|b|c}` takes two different ones, joined by `, `. Throws `InvalidArgumentError` for an unknown wildcard, a count beyond the
 * number of options, and wildcards that name each other in a circle.
 */
export function expandWildcards(prompt: string, seed: number | bigint, wildcards: Wildcards = {}): string {
  const generator = new Generator(seed)
  const pick = (n: number): number => {
    using chosen = generator.randint(0, n, [1])
    return chosen.item()
  }
  let text = prompt
  for (let expansions = 0; expansions < MOST_EXPANSIONS; expansions += 1) {
    const choice = INNERMOST.exec(text)
    const name = choice === null ? NAME.exec(text) : null
    const match = choice ?? name
    if (match === null) {
      return text
    }
    const replacement = choice === null ? line(match, text, wildcards, pick) : options(match, text, pick)
    text = text.slice(0, match.index) + replacement + text.slice(match.index + match[0].length)
  }
  throw promptError(`Expected fewer than ${MOST_EXPANSIONS} choices and wildcards`, prompt, 0)
}

function options(match: RegExpExecArray, text: string, pick: (n: number) => number): string {
  const body = match[1] ?? ''
  const count = Number(COUNT.exec(body)?.[1] ?? 1)
  const left = body.replace(COUNT, '').split('|')
  if (count > left.length) {
    throw promptError(`Expected at most ${left.length} choices but received ${count}`, text, match.index)
  }
  return Array.from({ length: count }, () => left.splice(pick(left.length), 1)[0] ?? '').join(', ')
}

function line(match: RegExpExecArray, text: string, wildcards: Wildcards, pick: (n: number) => number): string {
  const name = match[1] ?? ''
  const lines = Object.hasOwn(wildcards, name) ? wildcards[name] : undefined
  if (lines === undefined || lines.length === 0) {
    const known = Object.keys(wildcards).join(', ') || 'none are given'
    throw promptError(`Expected the name of a wildcard (${known}) but received '${name}'`, text, match.index)
  }
  return lines[pick(lines.length)] ?? ''
}
