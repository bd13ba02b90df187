import { promptError } from './place.ts'

/** A LoRA that a prompt asks for. */
export interface LoraTag {
  name: string
  /** @default 1 */
  weight: number
}

const TAG = /<(\w+):([^<>]*)>/g

/**
 * Takes `<lora:name:weight>` out of a prompt.
 *
 * Other tags of the form `<word:...>` stay. Throws `InvalidArgumentError` for a tag without a name or with a weight that is no
 * number. Source: stable-diffusion-webui `extra_networks.parse_prompt`.
 */
export function extractLoras(prompt: string): { text: string; loras: LoraTag[] } {
  const loras: LoraTag[] = []
  const text = prompt.replace(TAG, (tag: string, kind: string, body: string, at: number) => {
    if (kind !== 'lora') {
      return tag
    }
    const [name = '', weight = '1'] = body.split(':')
    const value = weight.trim() === '' ? Number.NaN : Number(weight)
    if (name === '' || !Number.isFinite(value)) {
      throw promptError(`Expected <lora:name:weight> but received '${tag}'`, prompt, at)
    }
    loras.push({ name, weight: value })
    return ''
  })
  return { text, loras }
}
