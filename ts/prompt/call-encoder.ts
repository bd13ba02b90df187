import type { PromptCache } from './cache.ts'
import { disposeEncoding, type EncoderText, type PromptEncoder, type TextEncoding } from './encoding.ts'
import { type EncodeTextOptions, type PromptSyntax, promptEncoder, syntaxName } from './syntax-choice.ts'
import { encoderState, type TextEncoders } from './text-encoders.ts'

/** Settings of an encoder of one call. */
export interface CallEncoderOptions extends EncodeTextOptions {
  syntax: PromptSyntax
  cache?: PromptCache
}

/** Encodes the texts of a call, each distinct one once; frees them all when it ends, unless they were released. */
export class CallEncoder implements Disposable {
  readonly #encoder: PromptEncoder
  readonly #cache: PromptCache | undefined
  readonly #key: string
  readonly #depends: (text: EncoderText) => boolean
  readonly #known = new Map<string, readonly TextEncoding[]>()
  readonly #made = new Set<TextEncoding>()

  constructor(encoders: TextEncoders, { syntax, cache, ...options }: CallEncoderOptions) {
    const { signal: _, ...lasting } = options
    const name = syntaxName(syntax)
    this.#encoder = promptEncoder(encoders, syntax, options)
    this.#cache = cache
    this.#key = JSON.stringify([encoderState(encoders), syntax, lasting])
    this.#depends = (text) =>
      name === 'plain'
        ? options.clipSkip !== undefined || options.negativeLength !== undefined
        : text.first === '' && encoders.family === 'sdxl'
  }

  /** Encodes a text; the same text gives the same encoding. */
  async one(text: EncoderText, role: 'positive' | 'negative'): Promise<TextEncoding> {
    const [encoding] = await this.#get([text, this.#depends(text) ? role : ''], async () => [await this.#encoder.encode(text, role)])
    return encoding as TextEncoding
  }

  /** Encodes a prompt with its negative, in syntaxes where they depend on each other; undefined in others. */
  async pair(positive: EncoderText, negative: EncoderText): Promise<readonly TextEncoding[] | undefined> {
    const { encodePair } = this.#encoder
    return encodePair && (await this.#get([positive, negative, 'pair'], () => encodePair(positive, negative)))
  }

  /** Counts an encoding that was made elsewhere among those that are freed. */
  adopt(encoding: TextEncoding): TextEncoding {
    this.#made.add(encoding)
    return encoding
  }

  /** Lets these outlive the call. */
  release(encodings: Iterable<TextEncoding>): void {
    for (const encoding of encodings) {
      this.#made.delete(encoding)
    }
  }

  [Symbol.dispose](): void {
    this.#made.forEach(disposeEncoding)
    this.#made.clear()
  }

  async #get(what: unknown[], encode: () => Promise<readonly TextEncoding[]>): Promise<readonly TextEncoding[]> {
    const key = JSON.stringify(what)
    const known = this.#known.get(key)
    if (known !== undefined) {
      return known
    }
    const encodings = this.#cache === undefined ? await encode() : await this.#cache.get(this.#key + key, encode)
    this.#known.set(key, encodings)
    for (const encoding of encodings) {
      this.adopt(encoding)
    }
    return encodings
  }
}
