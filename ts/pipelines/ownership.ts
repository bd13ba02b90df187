/** Something that a pipeline may own. */
export type Owned = { dispose(): void }

const holders = new WeakMap<object, number>()

/** The components that one pipeline owns. Pipelines may own one together: the last to release it disposes it. */
export class Ownership {
  #held: ReadonlySet<Owned>

  constructor(owned: Iterable<Owned> = []) {
    this.#held = new Set(owned)
    for (const component of this.#held) {
      holders.set(component, (holders.get(component) ?? 0) + 1)
    }
  }

  /** Which of these are owned here. */
  among(components: Iterable<unknown>): Owned[] {
    const held: ReadonlySet<unknown> = this.#held
    return [...components].filter((component): component is Owned => held.has(component))
  }

  /** Gives everything up, disposing what nobody else owns. Safe to call twice. */
  release(): void {
    for (const component of this.#held) {
      const left = (holders.get(component) ?? 1) - 1
      holders.set(component, left)
      if (left === 0) {
        component.dispose()
      }
    }
    this.#held = new Set()
  }
}
