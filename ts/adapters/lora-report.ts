/** What an adapter file holds, and how much of it finds a layer. */
export interface LoraReport {
  /** How the changes are written down: the most telling of `algorithms`. */
  readonly algorithm: LoraAlgorithm
  /** Changed layers by algorithm; LoRAs of convolutions count as `locon`. */
  readonly algorithms: Readonly<Partial<Record<LoraAlgorithm, number>>>
  /** Changed layers by component, in diffusers' names. */
  readonly layers: Readonly<Partial<Record<'unet' | 'text_encoder' | 'text_encoder_2' | 'motion_adapter', number>>>
  /** Keys of the file that found a layer. */
  readonly matched: number
  /** Keys of the file that did not. */
  readonly unmatched: readonly string[]
  /** Largest rank; null for adapters without one. */
  readonly rank: number | null
  /** All ranks that occur, ascending. */
  readonly ranks: readonly number[]
  /** All values of alpha / rank that occur, ascending. */
  readonly scales: readonly number[]
  /** Words that the adapter was trained on: those that its author names, else the most frequent tags of its training set. */
  readonly triggerWords: readonly string[]
  /** Tokens of the textual inversions that came with it (`bundle_emb`), which prompts can use while it is loaded. */
  readonly embeddings: readonly string[]
  /** Free texts of the file. */
  readonly metadata: Readonly<Record<string, string>>
}

/** Kinds of adapters. */
export type LoraAlgorithm = 'lora' | 'locon' | 'loha' | 'lokr' | 'dora' | 'ia3' | 'glora' | 'oft' | 'boft' | 'full'
