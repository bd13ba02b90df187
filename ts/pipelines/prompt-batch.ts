import { expected } from '../errors.ts'
import type { PromptRow } from '../guidance/guidance.ts'
import type { UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'

/** What the UNet is told about one kind of prompt; one row per image. */
export interface PromptInputs {
  /** (B, S, D). */
  embeds: Tensor
  /** SDXL's pooled text embedding (B, P). */
  textEmbeds?: Tensor
  /** SDXL's sizes (B, 6 or 5). */
  timeIds?: Tensor
}

/** Text conditioning of a run. */
export interface Conditioning {
  positive: PromptInputs
  /** Absent without guidance. */
  negative?: PromptInputs
  /** Guidance scale embedding of LCM-like UNets (B, time_cond_proj_dim). */
  timestepCond?: Tensor
}

/**
 * Joins the prompts' rows into the batch that the UNet gets, once for all steps: the UNet recognises the context by its Tensor and
 * keeps the keys and values of its cross-attention.
 */
export class PromptBatch {
  readonly #conditioning: Conditioning
  readonly #scope = new Scope()
  #embeds: Record<PromptRow, Tensor | undefined>
  #rows: readonly PromptRow[] | undefined
  #inputs: UNetForwardOptions | undefined

  constructor(conditioning: Conditioning) {
    this.#conditioning = conditioning
    this.#embeds = { positive: conditioning.positive.embeds, negative: conditioning.negative?.embeds }
  }

  /** Embeddings of the prompts. */
  get positive(): Tensor {
    return this.#embeds.positive ?? this.#conditioning.positive.embeds
  }

  /** Embeddings of the negative prompts, if there are any. */
  get negative(): Tensor | undefined {
    return this.#embeds.negative
  }

  /** The UNet's text inputs for these rows: the same Tensors as long as nothing changed. */
  inputs(rows: readonly PromptRow[]): UNetForwardOptions {
    if (this.#inputs === undefined || String(rows) !== String(this.#rows)) {
      this.#clear()
      this.#rows = rows
      this.#inputs = this.#join(rows)
    }
    return this.#inputs
  }

  /** Takes other embeddings from now on; throws `InvalidArgumentError` if one has another batch or width. */
  replace({ promptEmbeds, negativePromptEmbeds }: { promptEmbeds?: Tensor; negativePromptEmbeds?: Tensor }): void {
    if (promptEmbeds === undefined && negativePromptEmbeds === undefined) {
      return
    }
    const positive = this.#checked(promptEmbeds, 'promptEmbeds') ?? this.#embeds.positive
    const negative = this.#checked(negativePromptEmbeds, 'negativePromptEmbeds') ?? this.#embeds.negative
    this.#embeds = { positive, negative }
    this.#clear()
  }

  /** Frees the joined tensors. */
  dispose(): void {
    this.#clear()
  }

  #clear(): void {
    this.#scope[Symbol.dispose]()
    this.#inputs = undefined
  }

  #join(rows: readonly PromptRow[]): UNetForwardOptions {
    const of = (row: PromptRow): PromptInputs => {
      const found = this.#conditioning[row] ?? this.#conditioning.positive
      const embeds = this.#embeds[row]
      if (embeds === undefined) {
        throw expected('a Tensor once guidance is turned on', 'negativePromptEmbeds', embeds)
      }
      return { ...found, embeds }
    }
    const parts = rows.map(of)
    const textEmbeds = this.#cat(parts.map((part) => part.textEmbeds))
    const timeIds = this.#cat(parts.map((part) => part.timeIds))
    return {
      encoderHiddenStates: this.#cat(parts.map((part) => part.embeds)) ?? this.positive,
      timestepCond: this.#conditioning.timestepCond,
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
    const [batch, , width] = this.positive.shape
    if (!(given instanceof Tensor) || given.shape.length !== 3 || given.shape[0] !== batch || given.shape[2] !== width) {
      throw expected(`a Tensor of shape (${batch}, tokens, ${width})`, name, given)
    }
    return given
  }
}
