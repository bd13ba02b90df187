import type { LoraTag } from '../extra-networks.ts'

/** Text with a factor. */
export interface Fragment {
  kind: 'fragment'
  text: string
  weight: number
}

/** `a.swap(b)`: `original` starts the picture, `edited` takes its place through the attention maps. */
export interface Swap {
  kind: 'swap'
  original: Fragment[]
  edited: Fragment[]
  /** `s_start`, `s_end`, `t_start`, `t_end`: shares of the run. */
  options: Record<string, number | string>
}

/** A prompt without nesting; neighbours of equal weight are one fragment. */
export interface FlatPrompt {
  kind: 'prompt'
  children: (Fragment | Swap)[]
}

/** `("a", "b").blend(w, w)`: a weighted mean of encodings. */
export interface Blend {
  kind: 'blend'
  prompts: FlatPrompt[]
  weights: number[]
  /** Whether the weights are divided by their sum. */
  normalize: boolean
}

/** What a compel prompt means: parts joined along the tokens, as `("a", "b").and(w, w)` asks for, or a single one. */
export interface Conjunction {
  parts: (FlatPrompt | Blend)[]
  weights: number[]
  loras: LoraTag[]
}

/** A syntax tree before flattening. */
export type Node =
  | Fragment
  | { kind: 'lora'; lora: LoraTag }
  | { kind: 'attention'; weight: number; children: Node[] }
  | { kind: 'swap'; original: Node[]; edited: Node[]; options: Record<string, number | string> }

/** One entry of an operator's brackets: a flag or number, or `key=value`. */
export type Option = { key?: string; value: string }

/** A top-level part before flattening. */
export type Part = { kind: 'nodes'; nodes: Node[] } | { kind: 'blend'; prompts: Node[][]; weights: number[]; normalize: boolean }
