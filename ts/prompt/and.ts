/** One of several prompts that act together, each with a guidance weight of its own. */
export interface SubPrompt {
  text: string
  weight: number
}

const AND = /(?<![\p{L}\p{N}_])AND(?![\p{L}\p{N}_])/u
const WEIGHT = /^\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*$/

/**
 * Splits a prompt at the word `AND`; a part may end with `:weight`.
 *
 * Source: stable-diffusion-webui `get_multicond_prompt_list`; arXiv:2206.01714.
 */
export function splitAnd(prompt: string): SubPrompt[] {
  return prompt.split(AND).map((part) => {
    const colon = part.lastIndexOf(':')
    const weight = colon < 0 ? undefined : WEIGHT.exec(part.slice(colon + 1))?.[1]
    return weight === undefined ? { text: part.trimEnd(), weight: 1 } : { text: part.slice(0, colon).trimEnd(), weight: Number(weight) }
  })
}
