import { expected } from '../errors.ts'
import { splitAnd } from './and.ts'
import { parseCompel } from './compel/parse.ts'
import type { EncoderText } from './encoding.ts'
import { extractLoras, type LoraTag } from './extra-networks.ts'
import { promptSchedule, type ScheduledText } from './schedule.ts'
import type { PromptSyntax } from './syntax-choice.ts'

/** One prompt as written, for each encoder where they differ. */
export interface WrittenPrompt {
  prompt: string
  prompt2?: string
  negativePrompt?: string
  negativePrompt2?: string
}

/** A text that holds up to and including a UNet call (0-based). */
export interface TimedText {
  until: number
  text: EncoderText
}

/** What a prompt asks for, before anything is encoded. */
export interface ReadPrompt {
  written: WrittenPrompt
  parts: { weight: number; texts: TimedText[] }[]
  negative: TimedText[]
  loras: LoraTag[]
}

/**
 * Reads a prompt in its syntax: LoRA tags taken out, `AND` split, schedules unfolded over `steps` UNet calls.
 *
 * Throws `InvalidArgumentError` with the place in the text where the syntax refuses it.
 */
export function readPrompt(written: WrittenPrompt, { syntax, steps }: { syntax: PromptSyntax; steps: number }): ReadPrompt {
  const { prompt, prompt2, negativePrompt = '', negativePrompt2 } = written
  const { name, ...settings } = typeof syntax === 'object' ? syntax : { name: syntax }
  const always = (first: string, second?: string): TimedText[] => [{ until: Number.POSITIVE_INFINITY, text: { first, second } }]
  if (name !== 'a1111') {
    const loras = name === 'compel' ? parseCompel(prompt).loras : []
    return { written, parts: [{ weight: 1, texts: always(prompt, prompt2) }], negative: always(negativePrompt, negativePrompt2), loras }
  }
  const { firstStep = 0 } = settings as { firstStep?: number }
  const { text, loras } = extractLoras(prompt)
  const second = prompt2 === undefined ? undefined : extractLoras(prompt2).text
  const subPrompts = splitAnd(text)
  if (second !== undefined && (subPrompts.length > 1 || splitAnd(second).length > 1)) {
    throw expected('no AND in prompts with another text for the second encoder', 'prompt2', second)
  }
  const timed = (first: string, other?: string): TimedText[] => unfold([first, other], steps, firstStep)
  const parts = subPrompts.map((part) => ({ weight: part.weight, texts: timed(part.text, second) }))
  return { written, parts, negative: timed(negativePrompt, negativePrompt2), loras }
}

/** The schedules of both texts as one; neighbours that say the same are one entry. */
function unfold([first, second]: [string, string | undefined], steps: number, firstStep: number): TimedText[] {
  const schedules = [first, second].filter((text) => text !== undefined).map((text) => promptSchedule(text, steps))
  const ends = [...new Set(schedules.flatMap((schedule) => schedule.map(({ endAtStep }) => endAtStep)))].sort((a, b) => a - b)
  const entries: TimedText[] = []
  const cursors = schedules.map(() => 0)
  for (const end of ends) {
    const [one = '', two] = schedules.map((schedule, i) => textUntil(schedule, cursors, i, end))
    const last = entries.at(-1)
    if (last !== undefined && last.text.first === one && last.text.second === two) {
      last.until = end - firstStep
    } else {
      entries.push({ until: end - firstStep, text: { first: one, second: two } })
    }
  }
  const last = entries.at(-1)
  if (last !== undefined) {
    last.until = Number.POSITIVE_INFINITY
  }
  return entries
}

function textUntil(schedule: readonly ScheduledText[], cursors: number[], i: number, end: number): string {
  let at = cursors[i] ?? 0
  while (at < schedule.length - 1 && (schedule[at]?.endAtStep ?? end) < end) {
    at += 1
  }
  cursors[i] = at
  return schedule[at]?.text ?? ''
}

/** The LoRAs of a call: those of all its prompts, each once, the first weight counts. */
export function lorasOf(prompts: readonly ReadPrompt[]): LoraTag[] {
  const tags = prompts.flatMap(({ loras }) => loras)
  return tags.filter(({ name }, i) => tags.findIndex((tag) => tag.name === name) === i)
}
