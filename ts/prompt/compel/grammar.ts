import { promptError } from '../place.ts'
import type { Fragment, Node, Option } from './syntax.ts'

/** A match: what was read and where it ended; undefined where the rule does not apply. */
export type Match<T> = { value: T; end: number } | undefined

/** What an operator may follow; brackets and quotes take numbers as weights, words only signs. */
type Target = { value: Node[]; end: number; enclosed: boolean }

type Memo<T> = Map<number, T | 'none'>

const PLUS = 1.1
const MINUS = 0.9
/** Brackets nest through recursion; this keeps it well inside the stack. */
const MOST_DEPTH = 200
const MOST_REMEMBERED = 1000
const WORD = /(?:\\[()",.+=-]|[-+](?![\s()",.+=-]|$)|[^\s()",.+=-])+/y
const FREE_WORD = /\S+/y
const QUOTED = /"((?:\\"|[^"\n\r])*)"/y
const NUMBER = /[+-]?(?:\d+\.\d*|\.\d+)|-?\d+/y
const OPERATOR = /\++|-+/y
const KEYWORD = /[\w-]+/y
const OPTION = /([\w-]+)\s*=\s*([+-]?(?:\d+\.\d*|\.\d+)|-?\d+|[\w-]+)|[+-]?(?:\d+\.\d*|\.\d+)|-?\d+(?![\w-])|[\w-]+/y
const SPACE = /\s/
const [QUOTE, ROUND, STOP] = ['"'.charCodeAt(0), '('.charCodeAt(0), '.'.charCodeAt(0)]

/**
 * The rules below the level of `blend` and `and`, each a method from a position to a match.
 *
 * Ordered choice without backtracking into a choice that matched, as in compel's own grammar. The rules that call themselves remember
 * their results by position, so that reading takes linear time. Source: compel 2.5.1 `prompt_parser.build_parser_syntax`.
 */
export class Grammar {
  readonly text: string
  readonly #quoted: Memo<Target> = new Map()
  readonly #round: Memo<Target> = new Map()
  readonly #swap: Memo<{ value: Node[]; end: number }> = new Map()
  #depth = 0
  /** The last place of which something is remembered. */
  #furthest = -1

  constructor(text: string) {
    this.text = text
  }

  /** The position after blanks. */
  skip(at: number): number {
    let end = at
    for (;;) {
      const code = this.text.charCodeAt(end)
      const blank = code === 32 || code === 10 || (code < 32 || code > 126 ? SPACE.test(this.text.charAt(end)) : false)
      if (!blank) {
        return end
      }
      end += 1
    }
  }

  /** A literal, after blanks; the position behind it. */
  literal(symbol: string, at: number): number | undefined {
    const start = this.skip(at)
    return this.text.startsWith(symbol, start) ? start + symbol.length : undefined
  }

  /** A pattern exactly here. */
  token(pattern: RegExp, at: number): RegExpExecArray | null {
    pattern.lastIndex = at
    return pattern.exec(this.text)
  }

  /** Text that a sticky pattern takes from here. */
  #run(pattern: RegExp, start: number): Target | undefined {
    pattern.lastIndex = start
    if (!pattern.test(this.text)) {
      return undefined
    }
    const end = pattern.lastIndex
    return { value: [fragment(this.text.slice(start, end))], end, enclosed: false }
  }

  /** A whole prompt: operators where they parse, every other run of non-blanks as it stands. */
  prompt(at: number): { value: Node[]; end: number } {
    const nodes: Node[] = []
    let end = at
    for (;;) {
      const target = this.target(end)
      const match =
        (target && this.#swapped(target)) ??
        this.lora(end) ??
        (target && this.#attended(target)) ??
        (target?.enclosed === true ? target : this.#freeWord(end))
      if (match === undefined) {
        return { value: nodes, end: this.skip(end) }
      }
      append(nodes, match.value)
      end = match.end
      this.#forget(end)
    }
  }

  /** What may stand before an operator: a quoted or bracketed fragment or a bare word. */
  target(at: number): Target | undefined {
    const start = this.skip(at)
    const code = this.text.charCodeAt(start)
    return code === ROUND ? this.#parenthesized(start) : code === QUOTE ? this.#quotation(start) : this.#run(WORD, start)
  }

  /** `withLora(name, weight)` or `useLora(name)`. */
  lora(at: number): Match<Node[]> {
    const open = this.#call('useLora', at) ?? this.#call('withLora', at)
    const name = open === undefined ? null : this.token(KEYWORD, this.skip(open))
    if (name === null) {
      return undefined
    }
    const end = name.index + name[0].length
    const comma = this.literal(',', end)
    const weight = comma === undefined ? null : this.token(NUMBER, this.skip(comma))
    const close = this.literal(')', weight === null ? end : weight.index + weight[0].length)
    const lora = { name: name[0], weight: weight === null ? 1 : Number(weight[0]) }
    return close === undefined ? undefined : { value: [{ kind: 'lora', lora }], end: close }
  }

  /** Fragments up to the first thing that is none; `any` takes commas and full stops as text. */
  fragments(at: number, punctuation: 'any' | 'no-commas'): { value: Node[]; end: number } {
    const nodes: Node[] = []
    let end = at
    for (;;) {
      const target = this.target(end)
      const match =
        target === undefined
          ? this.#punctuation(end, punctuation)
          : (this.lora(end) ?? this.#attended(target) ?? this.#swapped(target) ?? target)
      if (match === undefined) {
        return { value: nodes, end }
      }
      append(nodes, match.value)
      end = match.end
    }
  }

  /** The comma-separated entries of an operator's brackets, possibly none. */
  options(at: number): { value: Option[]; end: number } {
    const value: Option[] = []
    let end = at
    for (let next: number | undefined = at; next !== undefined; next = this.literal(',', end)) {
      const match = this.token(OPTION, this.skip(next))
      if (match === null) {
        break
      }
      value.push(match[1] === undefined ? { value: match[0] } : { key: match[1], value: match[2] ?? '' })
      end = match.index + match[0].length
    }
    return { value, end }
  }

  /** `"..."`, whose content is a fragment of its own. */
  #quotation(start: number): Target | undefined {
    return this.#remember(this.#quoted, start, () => {
      const match = this.token(QUOTED, start)
      const content = match === null ? undefined : quotedContent(match[1] ?? '')
      return match === null || content === undefined ? undefined : { value: content, end: match.index + match[0].length, enclosed: true }
    })
  }

  /** `(...)`. */
  #parenthesized(start: number): Target | undefined {
    return this.#remember(this.#round, start, () => {
      const inner = this.fragments(start + 1, 'any')
      const close = this.literal(')', inner.end)
      return close === undefined ? undefined : { value: inner.value, end: close, enclosed: true }
    })
  }

  /** `word+`, `(fragment)--`, `(fragment)1.3`, `target.attend(w)`. */
  #attended(target: Target): Match<Node[]> {
    const open = this.#method('.attend', target.end)
    const explicit = open === undefined ? undefined : this.#weight(this.skip(open), 'number')
    const close = explicit && this.literal(')', explicit.end)
    const weight =
      explicit !== undefined && close !== undefined
        ? { value: explicit.value, end: close }
        : this.#weight(target.end, target.enclosed ? 'number' : 'signs')
    return weight && { value: [{ kind: 'attention', weight: weight.value, children: target.value }], end: weight.end }
  }

  /** `target.swap(fragment, options)`. */
  #swapped(target: Target): Match<Node[]> {
    const open = this.#method('.swap', target.end)
    if (open === undefined) {
      return undefined
    }
    return this.#remember(this.#swap, target.end, () => {
      const edited = this.fragments(open, 'no-commas')
      const comma = this.literal(',', edited.end)
      const options = comma === undefined ? { value: [], end: edited.end } : this.options(comma)
      const close = this.literal(')', options.end)
      return close === undefined
        ? undefined
        : { value: [{ kind: 'swap', original: target.value, edited: edited.value, options: swapOptions(options.value) }], end: close }
    })
  }

  #weight(at: number, kind: 'number' | 'signs'): Match<number> {
    const signs = this.token(OPERATOR, at)?.[0]
    if (signs !== undefined) {
      return { value: (signs.startsWith('+') ? PLUS : MINUS) ** signs.length, end: at + signs.length }
    }
    const number = kind === 'number' ? this.token(NUMBER, at)?.[0] : undefined
    return number === undefined ? undefined : { value: Number(number), end: at + number.length }
  }

  #call(name: string, at: number): number | undefined {
    const end = this.literal(name, at)
    return end === undefined ? undefined : this.literal('(', end)
  }

  /** A call behind a full stop. */
  #method(name: string, at: number): number | undefined {
    const start = this.skip(at)
    return this.text.charCodeAt(start) === STOP ? this.#call(name, start) : undefined
  }

  #freeWord(at: number): Match<Node[]> {
    return this.#run(FREE_WORD, this.skip(at))
  }

  #punctuation(at: number, punctuation: 'any' | 'no-commas'): Match<Node[]> {
    const start = this.skip(at)
    const mark = this.text.charAt(start)
    return punctuation === 'any' && (mark === ',' || mark === '.') ? { value: [fragment(mark)], end: start + 1 } : undefined
  }

  /** What is remembered of places that a whole prompt has passed only takes room. */
  #forget(passed: number): void {
    if (this.#round.size > MOST_REMEMBERED && this.#furthest < passed) {
      this.#quoted.clear()
      this.#round.clear()
      this.#swap.clear()
    }
  }

  /** Outside of brackets nothing is read twice, so only what stands inside is kept. */
  #remember<T extends object>(memo: Memo<T>, at: number, read: () => T | undefined): T | undefined {
    const known = memo.get(at)
    if (known !== undefined) {
      return known === 'none' ? undefined : known
    }
    this.#depth += 1
    if (this.#depth > MOST_DEPTH) {
      throw promptError(`Expected brackets nested at most ${MOST_DEPTH} deep`, this.text, at)
    }
    const match = read()
    this.#depth -= 1
    if (this.#depth > 0) {
      memo.set(at, match ?? 'none')
      this.#furthest = Math.max(this.#furthest, at)
    }
    return match
  }
}

/** Adds nodes; text that follows text becomes one fragment. */
function append(nodes: Node[], more: readonly Node[]): void {
  for (const node of more) {
    const last = nodes.at(-1)
    if (node.kind === 'fragment' && last?.kind === 'fragment') {
      last.text += ` ${node.text}`
    } else {
      nodes.push(node.kind === 'fragment' ? { ...node } : node)
    }
  }
}

function quotedContent(content: string): Node[] | undefined {
  const text = content.replaceAll('\\"', '"')
  if (text.trim() === '') {
    return [fragment('')]
  }
  const inner = new Grammar(text.replaceAll('"', '\\"'))
  const { value, end } = inner.fragments(0, 'any')
  return inner.skip(end) === inner.text.length ? value : undefined
}

function fragment(text: string): Fragment {
  return { kind: 'fragment', text: text.includes('\\') ? text.replace(/\\([()"])/g, '$1') : text, weight: 1 }
}

/** `shape_freedom` f stands for `s_end` = 1 - cbrt(f). */
function swapOptions(options: readonly Option[]): Record<string, number | string> {
  const given = Object.fromEntries(
    options.flatMap(({ key, value }) => (key === undefined ? [] : [[key, Number.isNaN(Number(value)) ? value : Number(value)] as const])),
  )
  const { shape_freedom: freedom, ...rest } = given
  const end = typeof freedom === 'number' ? 1 - Math.cbrt(freedom) : 0
  return { s_start: 0, s_end: end, t_start: 0.2, t_end: 1, ...rest }
}
