import type { LoraTag } from '../extra-networks.ts'
import { promptError } from '../place.ts'
import { Grammar, type Match } from './grammar.ts'
import type { Blend, Conjunction, FlatPrompt, Fragment, Node, Option, Part, Swap } from './syntax.ts'

/**
 * Reads a compel prompt: `word+`, `(phrase)1.3`, `("a", "b").blend(0.7, 0.3)`, `("a", "b").and()`, `a.swap(b)`, `withLora(name, w)`.
 *
 * Throws `InvalidArgumentError` that shows the place for what compel refuses: text after `.blend(...)`, weights of another number
 * than prompts, a weight that is no number. Source: compel 2.5.1 `PromptParser.parse_conjunction`.
 */
export function parseCompel(prompt: string): Conjunction {
  const text = prompt.replace(/,(\S)/g, ', $1')
  if (text.trim() === '') {
    return { parts: [{ kind: 'prompt', children: [{ kind: 'fragment', text: '', weight: 1 }] }], weights: [1], loras: [] }
  }
  const grammar = new Grammar(text)
  const and = joined(grammar, 0, ['.and', '.add'])
  if (and !== undefined) {
    const { prompts, options } = and.value
    const parts = prompts.map((nodes): Part => ({ kind: 'nodes', nodes }))
    return flatten(parts, weightsOf(options, prompts.length, text), text)
  }
  const parts: Part[] = []
  let end = loras(grammar, 0, parts)
  const blend = joined(grammar, end, ['.blend'])
  if (blend === undefined) {
    const whole = grammar.prompt(end)
    parts.push({ kind: 'nodes', nodes: whole.value })
    end = whole.end
  } else {
    parts.push(blendPart(blend.value, text))
    end = loras(grammar, blend.end, parts)
  }
  if (grammar.skip(end) < text.length) {
    throw promptError('Expected the end of the prompt', text, grammar.skip(end))
  }
  return flatten(
    parts,
    parts.map(() => 1),
    text,
  )
}

type Joined = { prompts: Node[][]; options: Option[] }

/** `("a", b, ...).operator(options)`. */
function joined(grammar: Grammar, at: number, operators: readonly string[]): Match<Joined> {
  const prompts: Node[][] = []
  let end = grammar.literal('(', at)
  while (end !== undefined) {
    const prompt = grammar.target(end) ?? quotedPrompt(grammar, end)
    if (prompt === undefined) {
      return undefined
    }
    prompts.push(prompt.value)
    end = grammar.literal(',', prompt.end)
    if (end === undefined) {
      const close = grammar.literal(')', prompt.end)
      const named =
        close === undefined ? undefined : operators.map((name) => grammar.literal(name, close)).find((found) => found !== undefined)
      const open = named === undefined ? undefined : grammar.literal('(', named)
      const options = open === undefined ? undefined : grammar.options(open)
      const after = options && grammar.literal(')', options.end)
      return options === undefined || after === undefined ? undefined : { value: { prompts, options: options.value }, end: after }
    }
  }
  return undefined
}

/** A quoted text that is no plain fragment is read as a whole prompt. */
function quotedPrompt(grammar: Grammar, at: number): Match<Node[]> {
  const match = grammar.token(/"((?:\\"|[^"\n\r])*)"/y, grammar.skip(at))
  return match === null ? undefined : { value: new Grammar(match[1] ?? '').prompt(0).value, end: match.index + match[0].length }
}

function loras(grammar: Grammar, at: number, parts: Part[]): number {
  const nodes: Node[] = []
  let end = at
  for (let lora = grammar.lora(end); lora !== undefined; lora = grammar.lora(end)) {
    nodes.push(...lora.value)
    end = lora.end
  }
  if (nodes.length > 0) {
    parts.push({ kind: 'nodes', nodes })
  }
  return end
}

function blendPart({ prompts, options }: Joined, text: string): Part {
  const normalize = options.at(-1)?.value !== 'no_normalize'
  const weights = weightsOf(normalize ? options : options.slice(0, -1), prompts.length, text)
  return { kind: 'blend', prompts, weights, normalize }
}

function weightsOf(options: readonly Option[], prompts: number, text: string): number[] {
  const weights = options.map(({ key, value }) => (key === undefined ? Number(value) : Number.NaN))
  if (weights.some(Number.isNaN)) {
    throw promptError(`Expected numbers as weights but received '${options.map(({ value }) => value).join(', ')}'`, text, 0)
  }
  if (weights.length > 0 && weights.length !== prompts) {
    throw promptError(`Expected ${prompts} weights but received ${weights.length}`, text, 0)
  }
  return weights.length > 0 ? weights : Array.from({ length: prompts }, () => 1)
}

function flatten(parts: readonly Part[], weights: readonly number[], text: string): Conjunction {
  const found: LoraTag[] = []
  const result: Conjunction = { parts: [], weights: [], loras: found }
  parts.forEach((part, i) => {
    const flat = part.kind === 'blend' ? flatBlend(part, found, text) : flatPrompt(part.nodes, found)
    if (flat.kind === 'blend' || flat.children.length > 0) {
      result.parts.push(flat)
      result.weights.push(weights[i] ?? 1)
    }
  })
  return result
}

function flatBlend({ prompts, weights, normalize }: Extract<Part, { kind: 'blend' }>, found: LoraTag[], text: string): Blend {
  const flat = prompts.map((nodes) => flatPrompt(nodes, found))
  if (flat.some(({ children }) => children.length === 0 || children.some(({ kind }) => kind === 'swap'))) {
    throw promptError('Expected prompts without .swap() for .blend()', text, 0)
  }
  return { kind: 'blend', prompts: flat, weights, normalize }
}

function flatPrompt(nodes: readonly Node[], found: LoraTag[], scale = 1): FlatPrompt {
  const children: (Fragment | Swap)[] = []
  flattenInto(children, nodes, scale, found)
  return { kind: 'prompt', children }
}

/** Multiplies the weights of nested brackets, joins neighbours of equal weight with a blank and collects LoRAs. */
function flattenInto(flat: (Fragment | Swap)[], nodes: readonly Node[], scale: number, found: LoraTag[]): void {
  for (const node of nodes) {
    if (node.kind === 'fragment') {
      const last = flat.at(-1)
      const weight = node.weight * scale
      if (last?.kind === 'fragment' && last.weight === weight) {
        last.text += ` ${node.text}`
      } else {
        flat.push({ ...node, weight })
      }
    } else if (node.kind === 'attention') {
      flattenInto(flat, node.children, scale * node.weight, found)
    } else if (node.kind === 'swap') {
      flat.push({ ...node, original: side(node.original, scale, found), edited: side(node.edited, scale, found) })
    } else {
      found.push(node.lora)
    }
  }
}

function side(nodes: readonly Node[], scale: number, found: LoraTag[]): Fragment[] {
  const fragments = flatPrompt(nodes, found, scale).children.filter((node): node is Fragment => node.kind === 'fragment')
  return fragments.length > 0 ? fragments : [{ kind: 'fragment', text: '', weight: 1 }]
}
