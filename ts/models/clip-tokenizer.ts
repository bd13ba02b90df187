import { join } from 'node:path'
import { abortable } from '../abort.ts'
import { checkBoolean, checkInteger, checkIntegers, checkOptions, checkString } from '../checks.ts'
import { expected, guard } from '../errors.ts'
import { type NativeTokenizer, native } from '../native.ts'
import { Tensor, wrapTensor } from '../tensor.ts'
import type { TensorArray } from '../tensor-data.ts'
import { intoFolder, writeJson } from '../weights/save.ts'
import { copyTokenizer } from '../weights/save-tokenizer.ts'
import { clipVocabulary } from '../weights/single-file.ts'
import { type LoadOptions, planLoad } from './load.ts'

/** How token ids are brought to one length. */
export type Padding = 'max_length' | 'longest' | false

/** Options of `CLIPTokenizer.encode`. */
export type EncodeOptions = {
  /** `max_length` fills up to `maxLength`, `longest` to the longest text. @default false */
  padding?: Padding
  /** Cuts texts longer than `maxLength` and reports the lost text. @default false */
  truncation?: boolean
  /** Ids per text, with start and end. @default `modelMaxLength` */
  maxLength?: number
  /** Puts the start and end ids around each text. @default true */
  addSpecialTokens?: boolean
}

/** Token ids of a batch of texts. */
export type TokenizerOutput = {
  /** (B, L), i64. */
  inputIds: Tensor
  /** 1 for text, 0 for padding: (B, L), i64. */
  attentionMask: Tensor
  /** For each text the part that did not fit, empty if all did. */
  truncated: string[]
}

/** CLIP's byte-pair tokenizer. Source: transformers `CLIPTokenizer`. */
export class CLIPTokenizer {
  readonly #native: NativeTokenizer
  /** Folders that the small files and the vocabulary were read from. */
  readonly #files: { folder: string; vocabulary: string }

  private constructor(handle: NativeTokenizer, files: { folder: string; vocabulary: string }) {
    this.#native = handle
    this.#files = files
  }

  /** Reads `vocab.json`, `merges.txt` and their companions, or `tokenizer.json`, from a folder or built-in model. */
  static async fromPretrained(dir: string, options?: Pick<LoadOptions, 'subfolder' | 'signal'>): Promise<CLIPTokenizer> {
    const plan = await planLoad(dir, options, 'tokenizer')
    const handle = await abortable(plan.options.signal, (token) => native.NativeTokenizer.load(plan.source, token))
    return new CLIPTokenizer(handle, { folder: plan.source, vocabulary: plan.source })
  }

  /** @internal The tokenizer of a single file's configs; those that ship with the package share one vocabulary. */
  static async ofSingleFile(
    { configs, isOwnConfig }: { configs: string; isOwnConfig: boolean },
    folder: string,
    { signal }: Pick<LoadOptions, 'signal'>,
  ): Promise<CLIPTokenizer> {
    const path = join(configs, folder)
    const vocabulary = isOwnConfig ? undefined : clipVocabulary
    const handle = await abortable(signal, (token) => native.NativeTokenizer.load(path, token, vocabulary))
    return new CLIPTokenizer(handle, { folder: path, vocabulary: vocabulary ?? path })
  }

  /** Writes the files that the tokenizer was read from into a folder, with a full vocabulary; added tokens are not among them. */
  async savePretrained(dir: string): Promise<void> {
    await intoFolder(dir, async (target) => {
      const copied = await copyTokenizer(this.#files, target)
      if (!copied.includes('vocab.json') && !copied.includes('tokenizer.json')) {
        const tokens = this.convertIdsToTokens(Array.from({ length: this.vocabSize }, (_, id) => id))
        await writeJson(target, 'vocab.json', Object.fromEntries(tokens.map((token, id) => [token, id])))
      }
    })
  }

  /** Ids per text that the model takes, with start and end; 77 for CLIP. */
  get modelMaxLength(): number {
    return this.#native.modelMaxLength
  }

  /** Id put before each text. */
  get bosTokenId(): number {
    return this.#native.bosTokenId
  }

  /** Id put after each text. */
  get eosTokenId(): number {
    return this.#native.eosTokenId
  }

  /** Id used as padding. */
  get padTokenId(): number {
    return this.#native.padTokenId
  }

  /** Number of ids, without added tokens. */
  get vocabSize(): number {
    return this.#native.vocabSize
  }

  /** Number of ids, with added tokens: Python's `len(tokenizer)`. */
  get length(): number {
    return this.#native.length
  }

  /** A tokenizer with the same vocabulary, whose added tokens grow on their own. */
  clone(): CLIPTokenizer {
    return new CLIPTokenizer(this.#native.clone(), this.#files)
  }

  /** Turns texts into ids. Texts of different lengths need `padding`. */
  encode(text: string | readonly string[], options?: EncodeOptions): TokenizerOutput {
    const texts = Array.isArray(text) ? text.map((item: unknown, i) => checkString(`text[${i}]`, item)) : [checkString('text', text)]
    if (texts.length === 0) {
      throw expected('at least one text', 'text', text)
    }
    const { padding = false, truncation = false, maxLength, addSpecialTokens = true } = checkOptions('options', options)
    if (padding !== false && padding !== 'max_length' && padding !== 'longest') {
      throw expected("'max_length', 'longest' or false", 'padding', padding)
    }
    checkBoolean('truncation', truncation)
    checkBoolean('addSpecialTokens', addSpecialTokens)
    if (maxLength !== undefined) {
      checkInteger('maxLength', maxLength, { min: addSpecialTokens ? 2 : 1, max: 2 ** 20 })
    }
    const settings = { padding: padding === false ? ('none' as const) : padding, truncation, maxLength, addSpecialTokens }
    const { inputIds, attentionMask, truncated } = guard(() => this.#native.encode(texts, settings))
    return { inputIds: wrapTensor(inputIds), attentionMask: wrapTensor(attentionMask), truncated }
  }

  /** Turns the ids of one text back into text. */
  decode(ids: Tensor | readonly number[], options?: { skipSpecialTokens?: boolean }): string {
    const skip = checkBoolean('skipSpecialTokens', checkOptions('options', options).skipSpecialTokens ?? false)
    const list = idsOf(ids, 'ids')
    return guard(() => this.#native.decode(list, skip))
  }

  /** Turns the ids of several texts back into texts. */
  batchDecode(ids: Tensor | readonly (readonly number[])[], options?: { skipSpecialTokens?: boolean }): string[] {
    if (ids instanceof Tensor) {
      if (ids.shape.length !== 2) {
        throw expected('a Tensor of shape [batch, length]', 'ids', ids)
      }
      return Array.from({ length: ids.shape[0] ?? 0 }, (_, i) => this.decode(ids.index(i), options))
    }
    if (!Array.isArray(ids)) {
      throw expected('a Tensor or an array of arrays of ids', 'ids', ids)
    }
    return ids.map((row: readonly number[]) => this.decode(row, options))
  }

  /** The vocabulary entry of each id. */
  convertIdsToTokens(ids: Tensor | readonly number[]): string[] {
    const list = idsOf(ids, 'ids')
    return guard(() => this.#native.convertIdsToTokens(list))
  }

  /** The id of each vocabulary entry; unknown ones give the unknown token's id. */
  convertTokensToIds(tokens: readonly string[]): number[] {
    const list = stringsOf(tokens, 'tokens')
    return guard(() => this.#native.convertTokensToIds(list))
  }

  /** Splits a text into vocabulary entries, without start and end. */
  tokenize(text: string): string[] {
    checkString('text', text)
    return guard(() => this.#native.tokenize(text))
  }

  /** Whether a token is in the vocabulary or was added. */
  has(token: string): boolean {
    checkString('token', token)
    return guard(() => this.#native.knows(token))
  }

  /**
   * Writes the other tokens of each added token of several vectors behind it: `<t>` becomes `<t> <t>_1 <t>_2`.
   *
   * Source: diffusers `maybe_convert_prompt`.
   */
  expandPrompt(text: string): string {
    checkString('text', text)
    return guard(() => this.#native.expandPrompt(text))
  }

  /** Adds whole-word tokens to this tokenizer; returns how many were new. */
  addTokens(tokens: string | readonly string[]): number {
    const list = stringsOf(typeof tokens === 'string' ? [tokens] : tokens, 'tokens')
    return guard(() => this.#native.addTokens(list))
  }
}

function idsOf(ids: unknown, name: string): number[] {
  if (ids instanceof Tensor) {
    return Array.from<number | bigint, number>(ids.toArray<TensorArray>(), Number)
  }
  return checkIntegers(name, ids, { min: 0, max: 2 ** 32 - 1 })
}

function stringsOf(values: unknown, name: string): string[] {
  if (!Array.isArray(values)) {
    throw expected('an array of strings', name, values)
  }
  return values.map((value: unknown, i) => checkString(`${name}[${i}]`, value))
}
