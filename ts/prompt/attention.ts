import { promptError } from './place.ts'

/** A piece of text and the factor by which its tokens count; `['BREAK', -1]` ends a chunk. */
export type WeightedText = [text: string, weight: number]

/** Which of the two grammars of attention brackets is read. */
export type AttentionGrammar = 'webui' | 'lpw'

const ROUND = 1.1
const SQUARE = 1 / 1.1
const NUMBER = { webui: /:\s*([+-]?[.\d]+)\s*\)/y, lpw: /:([+-]?[.\d]+)\)/y }
const FLOAT = /^[+-]?(\d+\.?\d*|\.\d+)$/
const PLAIN = /[^\\()[\]:]+/y
const BREAK = /(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])/u
/** Every bracket multiplies all it encloses, so deep nesting costs the square of its depth: this many products take about 20 ms. */
const MOST_PRODUCTS = 5_000_000

/**
 * Splits a prompt into weighted pieces; neighbours of equal weight are one piece.
 *
 * `(x)` multiplies by 1.1, `[x]` divides by 1.1, `(x:w)` multiplies by w; a backslash makes a bracket literal. Unclosed brackets
 * close at the end, unmatched closing ones are text. `webui` also knows `BREAK` and blanks around w; `lpw` does not. Throws
 * `InvalidArgumentError` for a weight that is no number, such as `(x:1.2.3)`, and for thousands of nested brackets around text.
 * Source: stable-diffusion-webui `parse_prompt_attention`; diffusers community pipeline `lpw_stable_diffusion`.
 */
export function parseAttention(prompt: string, grammar: AttentionGrammar = 'webui'): WeightedText[] {
  const pieces: WeightedText[] = []
  const open: Record<'round' | 'square', number[]> = { round: [], square: [] }
  let products = 0
  /** Sum of `open`: each open bracket will multiply at least the pieces from there to the last. */
  let starts = 0
  let at = 0

  const push = (text: string): void => {
    pieces.push([text, 1])
    const due = (open.round.length + open.square.length) * pieces.length - starts
    if (products + due > MOST_PRODUCTS) {
      throw promptError('Expected brackets nested less deeply', prompt, at)
    }
  }
  const literal = (text: string): void => {
    if (grammar === 'webui' && text.includes('BREAK')) {
      for (const piece of splitBreaks(text)) {
        pieces.push(piece)
      }
    } else {
      const last = pieces.at(-1)
      const opened = Math.max(open.round.at(-1) ?? 0, open.square.at(-1) ?? 0)
      if (last !== undefined && last[1] === 1 && opened < pieces.length) {
        last[0] += text
      } else {
        push(text)
      }
    }
  }
  const multiply = (start: number, factor: number): void => {
    products += pieces.length - start
    if (products > MOST_PRODUCTS) {
      throw promptError('Expected brackets nested less deeply', prompt, at)
    }
    for (let i = start; i < pieces.length; i += 1) {
      const piece = pieces[i]
      if (piece !== undefined) {
        piece[1] *= factor
      }
    }
  }
  const begin = (kind: 'round' | 'square'): void => {
    open[kind].push(pieces.length)
    starts += pieces.length
  }
  const close = (kind: 'round' | 'square', factor: number, text: string): void => {
    const start = open[kind].pop()
    if (start === undefined) {
      literal(text)
    } else {
      starts -= start
      multiply(start, factor)
    }
  }

  while (at < prompt.length) {
    const c = prompt.charAt(at)
    let length = 1
    if (c === '\\') {
      const escaped = /[()[\]\\]/.test(prompt.charAt(at + 1)) ? prompt.charAt(at + 1) : ''
      push(escaped)
      length += escaped.length
    } else if (c === '(') {
      begin('round')
    } else if (c === '[') {
      begin('square')
    } else if (c === ')') {
      close('round', ROUND, c)
    } else if (c === ']') {
      close('square', SQUARE, c)
    } else {
      const [text = c, number] = matchAt(c === ':' ? NUMBER[grammar] : PLAIN, prompt, at) ?? []
      length = text.length
      if (number === undefined) {
        literal(text)
      } else {
        close('round', open.round.length > 0 ? toFloat(number, prompt, at) : 1, text)
      }
    }
    at += length
  }
  for (const start of open.round) {
    multiply(start, ROUND)
  }
  for (const start of open.square) {
    multiply(start, SQUARE)
  }
  return merge(pieces)
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at
  return pattern.exec(text)
}

function toFloat(number: string, prompt: string, at: number): number {
  if (!FLOAT.test(number)) {
    throw promptError(`Expected a number for the weight but received '${number}'`, prompt, at)
  }
  return Number(number)
}

/** The word BREAK eats the blanks around it. */
function splitBreaks(text: string): WeightedText[] {
  const parts = text.split(BREAK)
  return parts.flatMap((part, i): WeightedText[] => {
    const left = i > 0 ? part.trimStart() : part
    const trimmed = i < parts.length - 1 ? left.trimEnd() : left
    return i > 0
      ? [
          ['BREAK', -1],
          [trimmed, 1],
        ]
      : [[trimmed, 1]]
  })
}

function merge(pieces: readonly WeightedText[]): WeightedText[] {
  const merged: WeightedText[] = []
  let from = 0
  for (const [i, [text, weight]] of pieces.entries()) {
    if (pieces[i + 1]?.[1] !== weight) {
      merged.push([
        from === i
          ? text
          : pieces
              .slice(from, i + 1)
              .map(([part]) => part)
              .join(''),
        weight,
      ])
      from = i + 1
    }
  }
  return merged.length === 0 ? [['', 1]] : merged
}

/** Writes pieces back as a prompt that parses to the same pieces; weights are written in full. */
export function printAttention(pieces: readonly WeightedText[]): string {
  return pieces
    .map(([text, weight]) => {
      const escaped = text.replace(/[\\()[\]]/g, '\\$&')
      return weight === 1 ? escaped : text === 'BREAK' && weight === -1 ? ' BREAK ' : `(${escaped}:${text === 'BREAK' ? -weight : weight})`
    })
    .join('')
}
