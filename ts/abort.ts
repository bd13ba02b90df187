import { AbortError, expected, fromNative } from './errors.ts'
import { type NativeCancelToken, native } from './native.ts'

/** Throws an `AbortError` whose cause is the signal's reason if the signal is already aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new AbortError(signal.reason)
  }
}

/** Returns `signal` if it is an AbortSignal or undefined, else throws. */
export function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw expected('an AbortSignal', 'signal', signal)
  }
  return signal
}

/**
 * Runs native work that polls a cancel token, and cancels it when `signal` aborts.
 *
 * Rejects with `AbortError` (cause = `signal.reason`) after an abort, and with this package's error classes otherwise. The
 * listener is removed as soon as the work is settled.
 */
export async function abortable<T>(signal: AbortSignal | undefined, work: (token: NativeCancelToken) => Promise<T>): Promise<T> {
  checkSignal(signal)
  throwIfAborted(signal)
  const token = new native.NativeCancelToken()
  const onAbort = (): void => token.cancel()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await work(token)
  } catch (error) {
    if (signal?.aborted && (error as { code?: unknown }).code === 'ABORT_ERR') {
      throw new AbortError(signal.reason)
    }
    throw fromNative(error)
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}
