import { Adaptable } from '../adapters/adaptable.ts'
import { DisposedError, expected } from '../errors.ts'
import { Ownership } from './ownership.ts'
import type { PipelineOrigin } from './pipeline-class.ts'
import { checkComponents, type Slots } from './slot.ts'

/**
 * Components, and who frees them: those that a pipeline loaded it frees by `dispose()`, those that it was given it does not; pipelines that share
 * theirs own them together.
 */
export abstract class OwningPipeline<C extends object> extends Adaptable<C> implements AsyncDisposable {
  /** The components of the class, by name. */
  static readonly slots: Slots = {}
  /** Settings of the class that stand beside the components, in `model_index.json` in snake_case. */
  static readonly settings: readonly string[] = []
  /** The folder or id that it was loaded from. */
  readonly source: string | undefined
  readonly #origin: PipelineOrigin
  readonly #ownership: Ownership
  #disposed = false

  constructor(components: C, origin: PipelineOrigin = {}) {
    if (typeof components !== 'object' || components === null) {
      throw expected('an object of components', 'components', components)
    }
    checkComponents(components, new.target.slots)
    super(components, origin.adapters)
    this.source = origin.source
    this.#origin = origin
    this.#ownership = new Ownership(origin.owned)
  }

  /** How long loading took, in milliseconds, downloads included; undefined for a pipeline of given components. Results repeat it as `timings.load`. */
  get loadMs(): number | undefined {
    return this.#origin.loadMs
  }

  /** Where a pipeline of these components comes from: it has this one's adapters, and owns together with it what this one owns of them. */
  protected originOf(components: object): PipelineOrigin {
    return { ...this.#origin, owned: this.#ownership.among(Object.values(components)), adapters: this.adapterState }
  }

  /** True after `dispose()`. */
  get disposed(): boolean {
    return this.#disposed
  }

  /** Frees the components that this pipeline owns, unless another pipeline owns them too. Safe to call twice. */
  dispose(): void {
    if (!this.#disposed) {
      this.releaseAdapters()
    }
    this.#disposed = true
    this.#ownership.release()
  }

  /** Same as `dispose()`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.dispose()
  }

  /** Throws `DisposedError` after `dispose()`. */
  protected override assertUsable(): void {
    if (this.#disposed) {
      throw new DisposedError(`Expected a ${this.constructor.name} in use for this call but received a disposed one`)
    }
  }
}
