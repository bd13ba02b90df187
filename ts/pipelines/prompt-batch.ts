import { expected } from '../errors.ts'
import type { GuidanceRow } from '../guidance/guidance.ts'
import type { UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import { entryAt, type PromptInputs, type PromptTrack, type RunConditioning, trackOf } from './prompt-inputs.ts'

type Replaced = { positive?: Tensor; negative?: Tensor }

/**
 * Joins the prompts' rows into the batch that the UNet gets, once for each set of texts: the UNet recognises the context by its Tensor and
 * keeps the keys and values of its cross-attention.
 */
export class PromptBatch {
  readonly #positive: readonly PromptTrack[]
  readonly #negative: PromptTrack | undefined
  readonly #timestepCond: Tensor | undefined
  readonly #scope = new Scope()
  readonly #joined = new Map<string, UNetForwardOptions>()
  readonly #numbers = new Map<PromptInputs, number>()
  #replaced: Replaced = {}

  constructor({ positive, negative, timestepCond }: RunConditioning) {
    this.#positive = Array.isArray(positive) ? positive : [trackOf(positive as PromptInputs)]
    this.#negative = negative && trackOf(negative)
    this.#timestepCond = timestepCond
  }

  /** Embeddings of the prompts at a UNet call; of the first of several parts. */
  positive(index: number): Tensor {
    const embeds = this.#replaced.positive ?? entryAt(this.#positive[0], index)?.embeds
    if (embeds === undefined) {
      throw expected('at least one track of at least one entry', 'conditioning.positive', this.#positive)
    }
    return embeds
  }

  /** Embeddings of the negative prompts at a UNet call, if there are any. */
  negative(index: number): Tensor | undefined {
    return this.#replaced.negative ?? entryAt(this.#negative, index)?.embeds
  }

  /** The UNet's text inputs for these rows at a UNet call: the same Tensors as long as the texts are the same. */
  inputs(rows: readonly GuidanceRow[], index: number): UNetForwardOptions {
    const found = rows.map((row) => this.#entry(row, index))
    const key = rows.map(({ prompt }, i) => `${prompt}${this.#numberOf(found[i])}`).join()
    const known = this.#joined.get(key)
    const joined = known ?? this.#join(rows, found)
    this.#joined.set(key, joined)
    return joined
  }

  /** Takes other embeddings from now on; throws `InvalidArgumentError` if one has another batch or width. */
  replace({ promptEmbeds, negativePromptEmbeds }: { promptEmbeds?: Tensor; negativePromptEmbeds?: Tensor }): void {
    if (promptEmbeds === undefined && negativePromptEmbeds === undefined) {
      return
    }
    const positive = this.#checked(promptEmbeds, 'promptEmbeds') ?? this.#replaced.positive
    const negative = this.#checked(negativePromptEmbeds, 'negativePromptEmbeds') ?? this.#replaced.negative
    this.#replaced = { positive, negative }
    this.dispose()
  }

  /** Frees the joined tensors. */
  dispose(): void {
    this.#joined.clear()
    this.#scope[Symbol.dispose]()
  }

  #entry({ prompt, part = 0 }: GuidanceRow, index: number): PromptInputs | undefined {
    const track = prompt === 'positive' ? this.#positive[part] : this.#negative
    if (track === undefined && prompt === 'positive') {
      throw expected(`${part + 1} tracks, as the guidance has parts,`, 'conditioning.positive', this.#positive)
    }
    return entryAt(track, index)
  }

  #numberOf(inputs: PromptInputs | undefined): number {
    if (inputs === undefined) {
      return -1
    }
    const number = this.#numbers.get(inputs) ?? this.#numbers.size
    this.#numbers.set(inputs, number)
    return number
  }

  #join(rows: readonly GuidanceRow[], found: readonly (PromptInputs | undefined)[]): UNetForwardOptions {
    const parts = rows.map(({ prompt }, i): PromptInputs => {
      const inputs = found[i]
      const embeds = this.#replaced[prompt] ?? inputs?.embeds
      if (embeds === undefined) {
        throw expected('a Tensor once guidance is turned on', 'negativePromptEmbeds', embeds)
      }
      return { ...(inputs ?? entryAt(this.#positive[0], 0)), embeds }
    })
    const textEmbeds = this.#cat(parts.map((part) => part.textEmbeds))
    const timeIds = this.#cat(parts.map((part) => part.timeIds))
    return {
      encoderHiddenStates: this.#cat(parts.map((part) => part.embeds)) ?? this.positive(0),
      timestepCond: this.#timestepCond,
      addedCondKwargs: textEmbeds === undefined && timeIds === undefined ? undefined : { textEmbeds, timeIds },
    }
  }

  #cat(parts: readonly (Tensor | undefined)[]): Tensor | undefined {
    const present = parts.filter((part) => part !== undefined)
    const [only] = present
    return present.length <= 1 ? only : this.#scope.keep(Tensor.cat(present))
  }

  #checked(given: unknown, name: string): Tensor | undefined {
    if (given === undefined) {
      return undefined
    }
    const [batch, , width] = this.positive(0).shape
    if (!(given instanceof Tensor) || given.shape.length !== 3 || given.shape[0] !== batch || given.shape[2] !== width) {
      throw expected(`a Tensor of shape (${batch}, tokens, ${width})`, name, given)
    }
    return given
  }
}
