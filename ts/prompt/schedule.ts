import { promptError } from './place.ts'

/** A text that holds up to and including a step (1-based). */
export interface ScheduledText {
  endAtStep: number
  text: string
}

type Node = string | Scheduled | Alternate
type Scheduled = { kind: 'scheduled'; before: Node[]; after: Node[]; when: string }
type Alternate = { kind: 'alternate'; options: Node[][] }
/** A bracket that is still open: where it and its separators stand in the list of nodes. */
type Frame = { bracket: string; start: number; separators: number[] }

const NUMBER = /^\s*([+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*$/i
const PLAIN = /(?:[^\\[\]():|]|\\[^\n])+/y
const SYNTAX = new Set('[]():|')
const MOST_STEPS = 100_000

/**
 * Unfolds `[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b|c]` into the text of each part of a run.
 *
 * `when` with a decimal point is a share of the steps, else a step number; it switches after that step. Alternation goes on by one
 * option a step. Brackets of any other form, and unbalanced ones, are left for the attention grammar. Throws
 * `InvalidArgumentError` if `steps` alternates over more than 100,000 steps.
 * Source: stable-diffusion-webui `get_learned_conditioning_prompt_schedules`.
 */
export function promptSchedule(prompt: string, steps: number): ScheduledText[] {
  const tree = parse(prompt)
  const ends = new Set([steps])
  if (collectEnds(tree, steps, ends) && steps > MOST_STEPS) {
    throw promptError(`Expected at most ${MOST_STEPS} steps for alternation`, prompt, 0)
  }
  const sorted = [...ends].sort((a, b) => a - b)
  return sorted.map((endAtStep) => ({ endAtStep, text: textAt(tree, endAtStep, steps) }))
}

/** One pass with a stack of open brackets: all is text until a bracket closes as a schedule, which then takes the place of its text. */
function parse(prompt: string): Node[] {
  const nodes: Node[] = []
  const open: Frame[] = []
  for (let at = 0, text = ''; at < prompt.length; at += text.length) {
    text = prompt.charAt(at)
    if (!SYNTAX.has(text)) {
      PLAIN.lastIndex = at
      text = PLAIN.exec(prompt)?.[0] ?? text
    }
    const frame = open.at(-1)
    if (text === '(' || text === '[') {
      open.push({ bracket: text, start: nodes.length, separators: [] })
    } else if (frame !== undefined && (text === ':' || text === '|')) {
      frame.separators.push(nodes.length)
    } else if (frame !== undefined && text === (frame.bracket === '(' ? ')' : ']')) {
      open.pop()
      const node = closed(frame, nodes)
      if (node !== undefined) {
        nodes.length = frame.start
        nodes.push(node)
        continue
      }
    }
    nodes.push(text)
  }
  return nodes
}

/** What a bracket means that closes now; undefined for all that is no schedule. */
function closed({ bracket, start, separators }: Frame, nodes: readonly Node[]): Node | undefined {
  if (bracket === '(' || separators.length === 0) {
    return undefined
  }
  const part = (i: number): Node[] => nodes.slice((separators[i - 1] ?? start) + 1, separators[i])
  if (separators.every((at) => nodes[at] === '|')) {
    return { kind: 'alternate', options: [...separators.keys(), separators.length].map(part) }
  }
  if (separators.length > 2 || separators.some((at) => nodes[at] !== ':')) {
    return undefined
  }
  const when = NUMBER.exec(
    part(separators.length)
      .map((node) => (typeof node === 'string' ? node : '['))
      .join(''),
  )?.[1]
  if (when === undefined) {
    return undefined
  }
  return { kind: 'scheduled', before: separators.length === 1 ? [] : part(0), after: part(separators.length - 1), when }
}

/** The last step of `before`: a share of the steps if written with a decimal point. */
function switchStep(when: string, steps: number): number {
  const value = Number(when)
  return Math.min(steps, Math.trunc(when.includes('.') ? value * steps : value))
}

/** Visits all nodes without recursion, so that deep nesting is safe; returns whether something alternates. */
function collectEnds(tree: readonly Node[], steps: number, ends: Set<number>): boolean {
  const lists: (readonly Node[])[] = [tree]
  let alternates = false
  for (let list = lists.pop(); list !== undefined; list = lists.pop()) {
    for (const node of list) {
      if (typeof node === 'string') {
        continue
      }
      if (node.kind === 'scheduled') {
        const end = switchStep(node.when, steps)
        if (end >= 1) {
          ends.add(end)
        }
        lists.push(node.before, node.after)
      } else {
        alternates = true
        lists.push(...node.options.slice(0, steps))
      }
    }
  }
  for (let step = 1; alternates && step <= Math.min(steps, MOST_STEPS); step += 1) {
    ends.add(step)
  }
  return alternates
}

function textAt(tree: readonly Node[], step: number, steps: number): string {
  const texts: string[] = []
  const stack: { list: readonly Node[]; next: number }[] = [{ list: tree, next: 0 }]
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const node = top.list[top.next]
    top.next += 1
    if (node === undefined) {
      stack.pop()
    } else if (typeof node === 'string') {
      texts.push(node)
    } else if (node.kind === 'scheduled') {
      stack.push({ list: step <= switchStep(node.when, steps) ? node.before : node.after, next: 0 })
    } else {
      stack.push({ list: node.options[(step - 1) % node.options.length] ?? [], next: 0 })
    }
  }
  return texts.join('')
}
