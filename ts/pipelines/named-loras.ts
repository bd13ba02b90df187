import { InvalidArgumentError } from '../errors.ts'
import { parseCompel } from '../prompt/compel/parse.ts'
import { extractLoras, type LoraTag } from '../prompt/extra-networks.ts'
import { promptError } from '../prompt/place.ts'
import { syntaxName } from '../prompt/syntax-choice.ts'
import type { CommonOptions } from './generate-options.ts'

/** The LoRAs that the prompts of a call name in their syntax, or that its conditioning was encoded with; each once, the first weight counts. */
export function namedLoras({ prompt, promptSyntax = 'plain', conditioning }: CommonOptions): LoraTag[] {
  const texts = Array.isArray(prompt) ? prompt : prompt === undefined ? [] : [prompt]
  const syntax = syntaxName(promptSyntax)
  const read = (text: string): readonly LoraTag[] =>
    syntax === 'a1111' ? extractLoras(text).loras : syntax === 'compel' ? parseCompel(text).loras : []
  const found = new Map<string, LoraTag>()
  for (const tag of [...texts.flatMap(read), ...(conditioning?.loras ?? [])]) {
    found.set(tag.name, found.get(tag.name) ?? tag)
  }
  return [...found.values()]
}

/** The error about a LoRA that a prompt names, with the place in the prompt; any other error as it is. */
export function placed(error: unknown, { prompt }: CommonOptions, named: readonly LoraTag[]): unknown {
  const texts = Array.isArray(prompt) ? prompt : prompt === undefined ? [] : [prompt]
  for (const { name } of named) {
    const text = texts.find((candidate) => candidate.includes(name))
    if (text !== undefined && error instanceof InvalidArgumentError && error.message.endsWith(JSON.stringify(name))) {
      const tag = text.indexOf(`:${name}`)
      return promptError(error.message, text, tag < 0 ? text.indexOf(name) : tag + 1)
    }
  }
  return error
}
