import { checkSignal } from '../abort.ts'
import { expected } from '../errors.ts'
import type { PipelineEvent } from './events.ts'

/** What the work of a job gets: the signal to honour and where to report. */
export interface JobContext<R> {
  signal: AbortSignal
  emit: (event: PipelineEvent<R>) => void
}

type Feed<R> = { queue: PipelineEvent<R>[]; wake: (() => void) | undefined }

/**
 * One running generation: await it for the result, iterate it for typed events, `cancel()` it or abort its signal.
 *
 * The work starts in the next microtask, so that an iterator or listener made right after the call sees every event; one made
 * later gets the events from then on. Each iterator has its own queue, in which an unread preview is replaced by the next. An
 * iterator ends after `done`, and throws what the job rejects with. A listener that throws never disturbs the run.
 */
export class Job<R> implements PromiseLike<R>, AsyncIterable<PipelineEvent<R>> {
  /** Aborted by the caller's signal or by `cancel()`. */
  readonly signal: AbortSignal
  readonly #controller = new AbortController()
  readonly #promise: Promise<R>
  readonly #feeds = new Set<Feed<R>>()
  readonly #listeners = new Set<(event: PipelineEvent<R>) => unknown>()
  #settled = false

  constructor(work: (context: JobContext<R>) => Promise<R>, options: { signal?: AbortSignal } = {}) {
    if (typeof work !== 'function') {
      throw expected('a function', 'work', work)
    }
    const outer = checkSignal(options.signal)
    this.signal = outer === undefined ? this.#controller.signal : AbortSignal.any([outer, this.#controller.signal])
    this.#promise = this.#run(work)
  }

  /** Stops the work at the next chance; the job then rejects with `AbortError` whose cause is `reason`. Safe to call at any time. */
  cancel(reason: unknown = new DOMException('The job was cancelled', 'AbortError')): void {
    this.#promise.catch(() => {})
    this.#controller.abort(reason)
  }

  /** Calls `listener` with every event from now on; returns the function that stops it. */
  on(listener: (event: PipelineEvent<R>) => unknown): () => void {
    if (typeof listener !== 'function') {
      throw expected('a function', 'listener', listener)
    }
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  // biome-ignore lint/suspicious/noThenProperty: a job is awaited like a promise
  then<A = R, B = never>(
    onFulfilled?: ((value: R) => A | PromiseLike<A>) | null,
    onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#promise.then(onFulfilled, onRejected)
  }

  /** As `Promise.prototype.catch`. */
  catch<B = never>(onRejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<R | B> {
    return this.#promise.catch(onRejected)
  }

  /** As `Promise.prototype.finally`. */
  finally(onFinally?: (() => void) | null): Promise<R> {
    return this.#promise.finally(onFinally)
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<PipelineEvent<R>> {
    this.#promise.catch(() => {})
    return this.#iterate()
  }

  async #run(work: (context: JobContext<R>) => Promise<R>): Promise<R> {
    await Promise.resolve()
    try {
      const result = await work({ signal: this.signal, emit: (event) => this.#emit(event) })
      this.#emit({ type: 'done', result })
      return result
    } finally {
      this.#settled = true
      for (const feed of this.#feeds) {
        feed.wake?.()
      }
    }
  }

  #emit(event: PipelineEvent<R>): void {
    for (const listener of this.#listeners) {
      watch(listener, event)
    }
    for (const feed of this.#feeds) {
      const stale = event.type === 'preview' ? feed.queue.findIndex((queued) => queued.type === 'preview') : -1
      if (stale >= 0) {
        feed.queue.splice(stale, 1)
      }
      feed.queue.push(event)
      feed.wake?.()
    }
  }

  #iterate(): AsyncIterableIterator<PipelineEvent<R>> {
    const feed: Feed<R> = { queue: [], wake: undefined }
    this.#feeds.add(feed)
    return this.#drain(feed)
  }

  async *#drain(feed: Feed<R>): AsyncGenerator<PipelineEvent<R>, undefined> {
    try {
      for (;;) {
        const event = feed.queue.shift()
        if (event !== undefined) {
          yield event
        } else if (this.#settled) {
          await this.#promise
          return
        } else {
          await new Promise<void>((resolve) => {
            feed.wake = resolve
          })
        }
      }
    } finally {
      this.#feeds.delete(feed)
    }
  }
}

const warned = new WeakSet<object>()

/** Calls a listener; the first thing that it throws or rejects with becomes a warning. */
function watch<E>(listener: (event: E) => unknown, event: E): void {
  const warn = (error: unknown): void => {
    if (!warned.has(listener)) {
      warned.add(listener)
      process.emitWarning(`A job's event listener threw: ${String(error)}`, 'NodeDiffusionWarning')
    }
  }
  try {
    const answer = listener(event)
    if (answer instanceof Promise) {
      answer.catch(warn)
    }
  } catch (error) {
    warn(error)
  }
}
