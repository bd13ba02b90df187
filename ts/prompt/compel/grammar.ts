import { promptError } from '../place.ts'
import type { Fragment, Node, Option } from './syntax.ts'

/** A match: what was read and where it ended; undefined where the rule does not apply. */
export type Match<T> = { value: T; end: number } | undefined

/** Rules whose results are remembered. */
type Rule = 'quoted' | 'round' | 'attention' | 'swap'

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
const [QUOTE, ROUND] = ['"'.charCodeAt(0), '('.charCodeAt(0)]

/**
 * The rules below the level of `blend` and `and`, each a method from a position to a match.
 *
 * Ordered choice without backtracking into a choice that matched, as in compel's own grammar; results are remembered by rule and
 * position, so that reading takes linear time. Source: compel 2.5.1 `prompt_parser.build_parser_syntax`.
 */
export class Grammar {
  readonly text: string
  readonly #memo: Record<Rule, Map<number, Match<Node[]>>> = { quoted: new Map(), round: new Map(), attention: new Map(), swap: new Map() }
  /** The rules ask for the same word again and again. */
  #word: { at: number; match: Match<Node[]> } = { at: -1, match: undefined }
  #depth = 0

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

  /** A whole prompt: operators where they parse, every other run of non-blanks as it stands. */
  prompt(at: number): { value: Node[]; end: number } {
    const nodes: Node[] = []
    let end = at
    for (;;) {
      const match =
        this.swap(end) ?? this.lora(end) ?? this.attention(end) ?? this.quoted(end) ?? this.parenthesized(end) ?? this.#freeWord(end)
      if (match === undefined) {
        return { value: nodes, end: this.skip(end) }
      }
      nodes.push(...match.value)
      end = match.end
      this.#forget()
    }
  }

  /** What may stand before an operator: a quoted or bracketed fragment or a bare word. */
  target(at: number): Match<Node[]> {
    return this.quoted(at) ?? this.parenthesized(at) ?? this.word(at)
  }

  /** A word without syntax in it. */
  word(at: number): Match<Node[]> {
    const start = this.skip(at)
    if (this.#word.at !== start) {
      const match = this.token(WORD, start)
      this.#word = { at: start, match: match === null ? undefined : { value: [fragment(match[0])], end: start + match[0].length } }
    }
    return this.#word.match
  }

  /** `"..."`, whose content is a fragment of its own. */
  quoted(at: number): Match<Node[]> {
    const start = this.skip(at)
    if (this.text.charCodeAt(start) !== QUOTE) {
      return undefined
    }
    return this.#remember('quoted', start, () => {
      const match = this.token(QUOTED, start)
      const content = match === null ? undefined : quotedContent(match[1] ?? '')
      return match === null || content === undefined ? undefined : { value: content, end: match.index + match[0].length }
    })
  }

  /** `(...)`. */
  parenthesized(at: number): Match<Node[]> {
    const start = this.skip(at)
    if (this.text.charCodeAt(start) !== ROUND) {
      return undefined
    }
    return this.#remember('round', start, () => {
      const inner = this.fragments(start + 1, 'any')
      const close = this.literal(')', inner.end)
      return close === undefined ? undefined : { value: inner.value, end: close }
    })
  }

  /** `word+`, `(fragment)--`, `(fragment)1.3`, `target.attend(w)`. */
  attention(at: number): Match<Node[]> {
    return this.#remember('attention', this.skip(at), () => this.#attendExplicit(at) ?? this.#attendImplicit(at))
  }

  /** `target.swap(fragment, options)`. */
  swap(at: number): Match<Node[]> {
    return this.#remember('swap', this.skip(at), () => {
      const original = this.target(at)
      const open = original && this.#call('.swap', original.end)
      if (original === undefined || open === undefined) {
        return undefined
      }
      const edited = this.fragments(open, 'no-commas')
      const comma = this.literal(',', edited.end)
      const options = comma === undefined ? { value: [], end: edited.end } : this.options(comma)
      const close = this.literal(')', options.end)
      return close === undefined
        ? undefined
        : { value: [{ kind: 'swap', original: original.value, edited: edited.value, options: swapOptions(options.value) }], end: close }
    })
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
      const match =
        this.lora(end) ??
        this.attention(end) ??
        this.swap(end) ??
        this.parenthesized(end) ??
        this.quoted(end) ??
        this.word(end) ??
        this.#punctuation(end, punctuation)
      if (match === undefined) {
        return { value: nodes, end }
      }
      nodes.push(...match.value)
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

  #attendExplicit(at: number): Match<Node[]> {
    const target = this.target(at)
    const open = target && this.#call('.attend', target.end)
    const weight = open === undefined ? undefined : this.#weight(this.skip(open), 'number')
    const close = weight && this.literal(')', weight.end)
    return target === undefined || weight === undefined || close === undefined
      ? undefined
      : { value: [{ kind: 'attention', weight: weight.value, children: target.value }], end: close }
  }

  #attendImplicit(at: number): Match<Node[]> {
    const enclosed = this.quoted(at) ?? this.parenthesized(at)
    const weighted = (target: Match<Node[]>, numbers: 'number' | 'signs'): Match<Node[]> => {
      const weight = target && this.#weight(target.end, numbers)
      return target && weight && { value: [{ kind: 'attention', weight: weight.value, children: target.value }], end: weight.end }
    }
    return weighted(enclosed, 'number') ?? weighted(this.word(at), 'signs')
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

  #freeWord(at: number): Match<Node[]> {
    const match = this.token(FREE_WORD, this.skip(at))
    return match === null ? undefined : { value: [fragment(match[0])], end: match.index + match[0].length }
  }

  #punctuation(at: number, punctuation: 'any' | 'no-commas'): Match<Node[]> {
    const start = this.skip(at)
    const mark = this.text.charAt(start)
    return punctuation === 'any' && (mark === ',' || mark === '.') ? { value: [fragment(mark)], end: start + 1 } : undefined
  }

  /** Between the words of a whole prompt nothing goes back: what is remembered of earlier ones only takes room. */
  #forget(): void {
    if (this.#depth === 0 && this.#memo.swap.size > MOST_REMEMBERED) {
      for (const memo of Object.values(this.#memo)) {
        memo.clear()
      }
    }
  }

  #remember(rule: Rule, at: number, read: () => Match<Node[]>): Match<Node[]> {
    const memo = this.#memo[rule]
    if (!memo.has(at)) {
      this.#depth += 1
      if (this.#depth > MOST_DEPTH * 3) {
        throw promptError(`Expected brackets nested at most ${MOST_DEPTH} deep`, this.text, at)
      }
      memo.set(at, read())
      this.#depth -= 1
    }
    return memo.get(at)
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
