import { expected } from './errors.ts'

/** Disposes what was put into it when it ends, newest first; `release` takes a value out again. */
export class Scope implements Disposable {
  readonly #held = new Set<Disposable>()

  /** Puts a value under this scope and returns it; `undefined` passes through. */
  keep<T extends Disposable | undefined>(value: T): T {
    if (value !== undefined) {
      if (typeof value?.[Symbol.dispose] !== 'function') {
        throw expected('something with [Symbol.dispose]', 'value', value)
      }
      this.#held.add(value)
    }
    return value
  }

  /** Like `keep`, unless the value is one that belongs to somebody else. */
  keepNew<T extends Disposable>(value: T, other: Disposable): T {
    return value === other ? value : this.keep(value)
  }

  /** Takes a value out, so that it outlives the scope, and returns it. */
  release<T extends Disposable>(value: T): T {
    this.#held.delete(value)
    return value
  }

  [Symbol.dispose](): void {
    for (const value of [...this.#held].reverse()) {
      value[Symbol.dispose]()
    }
    this.#held.clear()
  }
}
