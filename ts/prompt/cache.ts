import { checkInteger } from '../checks.ts'
import { disposeEncoding, shareEncoding, type TextEncoding } from './encoding.ts'

/**
 * Encoded texts by what they are and what encoded them; the least recently used one makes room for a new one.
 *
 * Holds tensors of its own: what it gives out belongs to whoever asked.
 */
export class PromptCache implements Disposable {
  readonly #size: number
  readonly #entries = new Map<string, readonly TextEncoding[]>()

  /** `size`: entries, a few hundred kB each; 0 keeps nothing. */
  constructor({ size = 32 }: { size?: number } = {}) {
    this.#size = checkInteger('size', size, { min: 0, max: 100_000 })
  }

  /** Number of entries. */
  get length(): number {
    return this.#entries.size
  }

  /** The encodings under a key, or those that `encode` makes; owned by the caller. */
  async get(key: string, encode: () => Promise<readonly TextEncoding[]>): Promise<TextEncoding[]> {
    const known = this.#entries.get(key)
    if (known !== undefined) {
      this.#entries.delete(key)
      this.#entries.set(key, known)
      return known.map(shareEncoding)
    }
    const encoded = await encode()
    this.#keep(key, encoded.map(shareEncoding))
    return [...encoded]
  }

  /** Forgets everything. */
  dispose(): void {
    for (const key of [...this.#entries.keys()]) {
      this.#drop(key)
    }
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #keep(key: string, encodings: TextEncoding[]): void {
    this.#drop(key)
    this.#entries.set(key, encodings)
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#size) {
        break
      }
      this.#drop(oldest)
    }
  }

  #drop(key: string): void {
    this.#entries.get(key)?.forEach(disposeEncoding)
    this.#entries.delete(key)
  }
}
