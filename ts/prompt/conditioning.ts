import { checkNumber } from '../checks.ts'
import { expected } from '../errors.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { loadConditioning, saveConditioning } from './conditioning-file.ts'
import { combine, sphericalShares } from './conditioning-math.ts'
import { disposeEncoding, type PromptToken, type TextEncoding } from './encoding.ts'
import type { LoraTag } from './extra-networks.ts'
import { fillUp, tokensOf } from './side-by-side.ts'
import type { SyntaxName } from './syntax-choice.ts'

/** A text that holds up to and including a UNet call (0-based); the last one of a list holds to the end. */
export interface ConditionedText {
  until: number
  text: string
  encoding: TextEncoding
}

/** One of the prompts that `AND` joins, and what it is in the course of a run. */
export interface ConditioningPart {
  weight: number
  texts: readonly ConditionedText[]
}

/** One prompt of a call. */
export interface PromptConditioning {
  /** As written. */
  prompt: string
  negativePrompt: string
  parts: readonly ConditioningPart[]
  /** Absent where it was left out for a run without guidance. */
  negative?: readonly ConditionedText[]
}

/** What a conditioning is made of; it owns the tensors. */
export interface ConditioningInit {
  syntax: SyntaxName | 'embeds'
  prompts: readonly PromptConditioning[]
  /** UNet calls that a schedule in the prompts was unfolded over. */
  steps?: number
  /** The encoded empty prompt, which fills up shorter texts. */
  empty?: TextEncoding
  /** Stands in for a delayed negative prompt. */
  blank?: TextEncoding
  /** Share of the run before which the empty prompt stands in for the negative one. @default 0 */
  negativeFrom?: number
  loras?: readonly LoraTag[]
}

/** Embeddings at one moment, all of one number of tokens; the caller owns them. */
export interface EmbeddedPrompts {
  /** (prompts, tokens, width). */
  promptEmbeds: Tensor
  negativePromptEmbeds?: Tensor
  pooledPromptEmbeds?: Tensor
  negativePooledPromptEmbeds?: Tensor
}

/**
 * Encoded prompts as a value: immutable, reusable by any number of runs, freed by `dispose()` (or the collector).
 *
 * Made by `encodePrompt`; pipelines take it as `conditioning`. Holds prompts with their texts over time, tokens, weights and chunks.
 */
export class Conditioning implements Disposable {
  readonly syntax: SyntaxName | 'embeds'
  readonly prompts: readonly PromptConditioning[]
  /** UNet calls that a schedule was unfolded over; undefined if nothing changes on the way. */
  readonly steps: number | undefined
  readonly empty: TextEncoding | undefined
  /** Stands in for the negative prompt before `negativeFrom`. */
  readonly blank: TextEncoding | undefined
  /** Share of the run before which the empty prompt stands in for the negative one. */
  readonly negativeFrom: number
  /** LoRAs that the prompts ask for. */
  readonly loras: readonly LoraTag[]
  #embedded: EmbeddedPrompts | undefined

  constructor({ syntax, prompts, steps, empty, blank, negativeFrom = 0, loras = [] }: ConditioningInit) {
    if (!Array.isArray(prompts) || prompts.length === 0 || prompts.some(({ parts }) => parts.length === 0)) {
      throw expected('at least one prompt of at least one part', 'prompts', prompts)
    }
    this.syntax = syntax
    this.prompts = Object.freeze([...prompts])
    this.steps = steps
    this.empty = empty
    this.blank = blank
    this.negativeFrom = negativeFrom
    this.loras = Object.freeze([...loras])
  }

  /** Reads what `save` wrote. */
  static async load(path: string, options: { signal?: AbortSignal } = {}): Promise<Conditioning> {
    return new Conditioning(await loadConditioning(path, options))
  }

  /** Text that did not fit, one entry per prompt that lost some. */
  get truncated(): string[] {
    return [...new Set(this.#texts().map(({ cut }) => cut))].filter((cut) => cut !== '')
  }

  /** Tokens of each chunk of the i-th prompt's first text, with ids and weights. */
  tokens(i = 0): readonly (readonly PromptToken[])[] {
    const prompt = this.prompts[i]
    if (prompt === undefined) {
      throw expected(`a whole number from 0 to ${this.prompts.length - 1}`, 'i', i)
    }
    return prompt.parts[0]?.texts[0]?.encoding.chunks.map(({ tokens }) => tokens) ?? []
  }

  /** Every encoding, each once, those that fill up and stand in included. */
  encodings(): TextEncoding[] {
    return [...new Set([...this.#texts(), this.empty, this.blank])].filter((encoding) => encoding !== undefined)
  }

  /** True where a prompt has several parts, or a weight as a whole: then negative prompts are needed at any guidance scale. */
  get composed(): boolean {
    return this.prompts.some(({ parts }) => parts.length > 1 || parts[0]?.weight !== 1)
  }

  /** Number of tokens that all encodings have once the shorter ones are filled up. */
  get length(): number {
    return Math.max(...this.#texts().map(({ embeds }) => tokensOf(embeds)))
  }

  /** Embeddings of an encoding, filled up to a number of tokens; a new handle, owned by the caller. */
  filled({ embeds, zeros }: TextEncoding, tokens = this.length): Tensor {
    const missing = tokens - tokensOf(embeds)
    if (missing === 0) {
      return embeds.clone()
    }
    if (this.empty === undefined || missing % tokensOf(this.empty.embeds) !== 0) {
      throw expected(`prompts that encode to ${tokens} tokens`, 'conditioning', `one of ${tokensOf(embeds)}`)
    }
    using zero = zeros && this.empty.embeds.mul(0)
    return fillUp(embeds, zero ?? this.empty.embeds, tokens)
  }

  /** Embeddings of the first text of each prompt; they belong to the conditioning. */
  get promptEmbeds(): Tensor {
    return this.#first.promptEmbeds
  }

  /** Embeddings of the first text of each negative prompt; throws where negative prompts were left out. */
  get negativePromptEmbeds(): Tensor {
    return this.#present('negativePromptEmbeds')
  }

  /** SDXL: pooled embeddings that go with `promptEmbeds`; throws for other models. */
  get pooledPromptEmbeds(): Tensor {
    return this.#present('pooledPromptEmbeds')
  }

  /** SDXL: pooled embeddings that go with `negativePromptEmbeds`; throws for other models. */
  get negativePooledPromptEmbeds(): Tensor {
    return this.#present('negativePooledPromptEmbeds')
  }

  /** Embeddings as a UNet call gets them: the first part of each prompt, every prompt once; owned by the caller. */
  at(call = 0): EmbeddedPrompts {
    const now = (texts: readonly ConditionedText[] | undefined): TextEncoding | undefined =>
      (texts?.find(({ until }) => call <= until) ?? texts?.at(-1))?.encoding
    const positive = this.#stack(this.prompts.map(({ parts }) => now(parts[0]?.texts)))
    const negative = this.#stack(this.prompts.map(({ negative: texts }) => now(texts)))
    if (positive === undefined) {
      throw expected('a text in every prompt', 'prompts', this.prompts)
    }
    return {
      promptEmbeds: positive.embeds,
      negativePromptEmbeds: negative?.embeds,
      pooledPromptEmbeds: positive.pooled,
      negativePooledPromptEmbeds: negative?.pooled,
    }
  }

  /**
   * The weighted sum of several conditionings, weights divided by their sum unless `normalize` is false: `Conditioning.blend([cat, dog], [0.7, 0.3])`.
   *
   * Throws `InvalidArgumentError` unless there is a finite weight for each, and all have as many prompts and parts.
   */
  static blend(conditionings: readonly Conditioning[], weights: readonly number[], { normalize = true } = {}): Conditioning {
    checkConditionings(conditionings)
    if (!Array.isArray(weights) || weights.length !== conditionings.length || !weights.every(Number.isFinite)) {
      throw expected(`${conditionings.length} finite numbers`, 'weights', weights)
    }
    const sum = normalize ? weights.reduce((total, weight) => total + weight, 0) : 1
    if (sum === 0) {
      throw expected('weights whose sum is not 0', 'weights', weights)
    }
    return new Conditioning(combine(conditionings, () => weights.map((weight) => weight / sum)))
  }

  /** `(1 - share) this + share other`, in a straight line. */
  lerp(other: Conditioning, share: number): Conditioning {
    checkNumber('share', share)
    return Conditioning.blend([this, other], [1 - share, share], { normalize: false })
  }

  /** The way from this to `other` along the sphere, of which `share` (0 to 1) is gone; straight where both point the same way. */
  slerp(other: Conditioning, share: number): Conditioning {
    checkNumber('share', share)
    checkConditionings([this, other])
    return new Conditioning(combine([this, other], ([from, to]) => sphericalShares(from, to, share)))
  }

  /** Writes everything to a safetensors file; the structure is in the tensor `conditioning`, as JSON in UTF-8. */
  async save(path: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    await saveConditioning(this, path, options)
  }

  #texts(): TextEncoding[] {
    const texts = this.prompts.flatMap(({ parts, negative = [] }) => [...parts.flatMap((part) => part.texts), ...negative])
    return texts.map(({ encoding }) => encoding)
  }

  get #first(): EmbeddedPrompts {
    this.#embedded ??= this.at(0)
    return this.#embedded
  }

  #present(name: keyof EmbeddedPrompts): Tensor {
    const tensor = this.#first[name]
    if (tensor === undefined) {
      throw expected('a conditioning that has them', name, tensor)
    }
    return tensor
  }

  /** Frees the tensors; runs that were started with them go on. Safe to call twice. */
  dispose(): void {
    for (const encoding of this.encodings()) {
      disposeEncoding(encoding)
    }
    for (const tensor of Object.values(this.#embedded ?? {})) {
      tensor?.dispose()
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #stack(encodings: readonly (TextEncoding | undefined)[]): { embeds: Tensor; pooled?: Tensor } | undefined {
    const present = encodings.filter((encoding) => encoding !== undefined)
    if (present.length < encodings.length) {
      return undefined
    }
    using scope = new Scope()
    const pooled = present.flatMap((encoding) => (encoding.pooled === undefined ? [] : [encoding.pooled]))
    const rows = present.map((encoding) => scope.keep(this.filled(encoding)))
    return { embeds: Tensor.cat(rows), pooled: pooled.length === 0 ? undefined : Tensor.cat(pooled) }
  }
}

function checkConditionings(given: readonly Conditioning[]): void {
  if (!Array.isArray(given) || given.length === 0 || !given.every((item) => item instanceof Conditioning)) {
    throw expected('a non-empty array of Conditionings', 'conditionings', given)
  }
}
