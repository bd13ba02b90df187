import type { PartWeight } from '../guidance/guidance.ts'
import type { ConditionedText, Conditioning } from '../prompt/conditioning.ts'
import type { TextEncoding } from '../prompt/encoding.ts'
import type { Scope } from '../scope.ts'
import { Tensor } from '../tensor.ts'
import type { PromptInputs, PromptTrack, TrackEntry } from './prompt-inputs.ts'

type Role = 'positive' | 'negative'

/** A run, as far as its conditioning depends on it. */
export interface ConditionedRun {
  imagesPerPrompt: number
  /** UNet calls. */
  calls: number
  /** UNet calls of one step. */
  callsPerStep: number
  guided: boolean
  /** What the UNet is told beside the embeddings. */
  timeIds?: (role: Role, pooled: Tensor) => Tensor
  /** Owns the tensors. */
  scope: Scope
}

/** What a conditioning tells the UNet in the course of a run. */
export interface RunTracks {
  positive: PromptTrack[]
  negative?: PromptTrack
  /** Weight of each part where there is more than a plain prompt. */
  parts?: PartWeight[]
}

/** Lays a conditioning out over a run: all of one length, one row per image, each set of texts once. */
export function runTracks(conditioning: Conditioning, run: ConditionedRun): RunTracks {
  const { prompts } = conditioning
  const batches = new Batches(conditioning, run)
  const count = Math.max(...prompts.map(({ parts }) => parts.length))
  const positive = Array.from({ length: count }, (_, part) =>
    batches.track(
      prompts.map(({ parts }) => (parts[part] ?? parts[0])?.texts ?? []),
      'positive',
    ),
  )
  const weights = Array.from({ length: count }, (_, part) => partWeight(conditioning, part, run.imagesPerPrompt))
  const negatives = run.guided ? prompts.map(({ negative }) => negative) : []
  const present = negatives.filter((texts) => texts !== undefined)
  const complete = run.guided && present.length === prompts.length
  return {
    positive,
    negative: complete
      ? batches.track(
          present.map((texts) => delayed(texts, conditioning, run)),
          'negative',
        )
      : undefined,
    parts: weights.length === 1 && weights[0] === 1 ? undefined : weights,
  }
}

/** The weight of a part: one number if it is the same for all images; 0 for a prompt that has no such part. */
function partWeight({ prompts }: Conditioning, part: number, imagesPerPrompt: number): PartWeight {
  const weights = prompts.map(({ parts }) => parts[part]?.weight ?? 0)
  const [first = 1] = weights
  return weights.every((weight) => weight === first)
    ? first
    : weights.flatMap((weight) => Array.from({ length: imagesPerPrompt }, () => weight))
}

/** Lets the empty prompt stand in at the beginning, for whole steps. */
function delayed(
  texts: readonly ConditionedText[],
  { negativeFrom, blank }: Conditioning,
  run: ConditionedRun,
): readonly ConditionedText[] {
  const calls = Math.round((negativeFrom * run.calls) / run.callsPerStep) * run.callsPerStep
  if (calls === 0 || blank === undefined) {
    return texts
  }
  return [{ until: calls - 1, text: '', encoding: blank }, ...texts.filter(({ until }) => until >= calls)]
}

/** Makes the tensors of a run, each set of encodings once. */
class Batches {
  readonly #conditioning: Conditioning
  readonly #run: ConditionedRun
  readonly #length: number
  readonly #known = new Map<string, PromptInputs>()
  readonly #numbers: ReadonlyMap<TextEncoding, number>
  readonly #timeIds = new Map<Role, Tensor>()

  constructor(conditioning: Conditioning, run: ConditionedRun) {
    this.#conditioning = conditioning
    this.#run = run
    this.#length = conditioning.length
    this.#numbers = new Map(conditioning.encodings().map((encoding, i) => [encoding, i]))
  }

  /** Texts of several prompts over time as one track: a new entry wherever one of them changes. */
  track(prompts: readonly (readonly ConditionedText[])[], role: Role): PromptTrack {
    const ends = [...new Set(prompts.flatMap((texts) => texts.map(({ until }) => until)))].sort((a, b) => a - b)
    const entries: TrackEntry[] = []
    let previous = -1
    for (const until of ends) {
      if (until > previous && previous < this.#run.calls - 1) {
        const now = prompts.map((texts) => texts.find((text) => until <= text.until) ?? texts.at(-1))
        const encodings = now.flatMap((text) => (text === undefined ? [] : [text.encoding]))
        entries.push({ until, inputs: this.#inputs(encodings, role) })
        previous = until
      }
    }
    return entries
  }

  #inputs(encodings: readonly TextEncoding[], role: Role): PromptInputs {
    const key = `${role}${encodings.map((encoding) => this.#numbers.get(encoding)).join()}`
    const found = this.#known.get(key) ?? this.#make(encodings, role)
    this.#known.set(key, found)
    return found
  }

  #make(encodings: readonly TextEncoding[], role: Role): PromptInputs {
    const { scope, timeIds } = this.#run
    const embeds = this.#rows(encodings.map((encoding) => scope.keep(this.#conditioning.filled(encoding, this.#length))))
    const pooled = encodings.flatMap((encoding) => (encoding.pooled === undefined ? [] : [encoding.pooled]))
    if (timeIds === undefined || pooled.length < encodings.length) {
      return { embeds }
    }
    const textEmbeds = this.#rows(pooled)
    const ids = this.#timeIds.get(role) ?? scope.keep(timeIds(role, textEmbeds))
    this.#timeIds.set(role, ids)
    return { embeds, textEmbeds, timeIds: ids }
  }

  #rows(tensors: readonly Tensor[]): Tensor {
    const { scope, imagesPerPrompt } = this.#run
    const all = scope.keep(Tensor.cat(tensors))
    return imagesPerPrompt === 1 ? all : scope.keep(all.repeatInterleave(imagesPerPrompt, 0))
  }
}
