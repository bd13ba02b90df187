import { abortable, throwIfAborted } from '../abort.ts'
import { AbortError, DisposedError } from '../errors.ts'
import { type NativeCancelToken, native } from '../native.ts'

type Build<T> = (token: NativeCancelToken) => Promise<T>
type Building<T> = { promise: Promise<T>; token: NativeCancelToken; waiting: number }

/** A native model that is there from the start, or built when it is first needed; the building stops when nobody waits for it any more. */
export class LazyNative<T extends { dispose(): void }> {
  readonly #build: Build<T> | undefined
  #ready: T | undefined
  #building: Building<T> | undefined
  #disposed = false

  constructor(source: T | Build<T>) {
    if (typeof source === 'function') {
      this.#build = source
    } else {
      this.#ready = source
    }
  }

  /** The model, built if it is not there yet. Rejects with `AbortError` on abort; a later call tries again. */
  async get(signal?: AbortSignal): Promise<T> {
    if (this.#ready !== undefined) {
      return this.#ready
    }
    throwIfAborted(signal)
    const building = this.#building ?? this.#start()
    building.waiting += 1
    try {
      return await orAbort(building.promise, signal)
    } finally {
      building.waiting -= 1
      if (building.waiting === 0 && this.#ready === undefined) {
        building.token.cancel()
        this.#building = this.#building === building ? undefined : this.#building
      }
    }
  }

  /** Runs work on the model; at once if it is there, so that neither it nor the work's tensors can be disposed in between. */
  async run<R>(signal: AbortSignal | undefined, work: (model: T) => Promise<R>): Promise<R> {
    return work(this.#ready ?? (await this.get(signal)))
  }

  /** Frees the model, or stops its building. */
  dispose(): void {
    this.#disposed = true
    this.#building?.token.cancel()
    this.#ready?.dispose()
    this.#ready = undefined
  }

  #start(): Building<T> {
    const build = this.#build
    if (this.#disposed || build === undefined) {
      throw new DisposedError('Expected a model in use for this call but received a disposed one')
    }
    const token = new native.NativeCancelToken()
    const promise = abortable(undefined, () => build(token)).then((built) => {
      if (this.#disposed) {
        built.dispose()
        throw new DisposedError('Expected a model in use for this call but received a disposed one')
      }
      if (this.#ready !== undefined) {
        // An earlier building that was given up had got too far to stop, and came first.
        built.dispose()
        return this.#ready
      }
      this.#ready = built
      return built
    })
    promise.catch(() => {})
    const building = { promise, token, waiting: 0 }
    this.#building = building
    return building
  }
}

/** What the promise gives, unless the signal aborts first. */
function orAbort<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) {
    return promise
  }
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new AbortError(signal.reason))
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
