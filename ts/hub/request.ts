import { setTimeout as sleep } from 'node:timers/promises'
import { throwIfAborted } from '../abort.ts'
import { AbortError, HubError } from '../errors.ts'
import type { HubSettings } from './settings.ts'

const BUSY: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504])
const TRIES = 5
const LONGEST_WAIT_MS = 60_000
/** Nothing listens there or nobody knows the name: asking again at once changes nothing. */
const ABSENT = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH/

/** The hub could not be reached at all, as opposed to having answered with an error. */
export class UnreachableError extends HubError {}

/** A `fetch` that sends the token, waits when the server is busy (`Retry-After`), and tries again when a connection fails. */
export function hubFetch({ token, endpoint }: HubSettings, signal: AbortSignal | undefined): typeof fetch {
  return async (input, init) => {
    const headers = new Headers(init?.headers)
    const address = input instanceof Request ? input.url : String(input)
    if (token !== undefined && address.startsWith(`${endpoint}/`)) {
      headers.set('Authorization', `Bearer ${token}`)
    }
    for (let attempt = 1; ; attempt += 1) {
      throwIfAborted(signal)
      const answer = await send(input, { ...init, headers, signal: both(signal, init?.signal) }, signal)
      const failed = answer instanceof Error
      if (!failed && !BUSY.has(answer.status)) {
        return answer
      }
      if (attempt === TRIES || (failed && ABSENT.test(reason(answer)))) {
        if (failed) {
          throw new UnreachableError(`Expected an answer from ${new URL(address).origin} but received none: ${reason(answer)}`, {
            cause: answer,
          })
        }
        return answer
      }
      const wait = failed ? undefined : retryAfter(answer.headers.get('Retry-After'))
      await (failed ? undefined : answer.body?.cancel())
      await pause(Math.min(wait ?? 250 * 2 ** attempt, LONGEST_WAIT_MS), signal)
    }
  }
}

/** Waits; rejects with `AbortError` as soon as the signal aborts. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => throwIfAborted(signal))
}

/** The innermost message of a failed fetch, whose own says nothing. */
export function reason(error: unknown): string {
  let last = String(error)
  for (let current = error; current instanceof Error; current = current.cause) {
    const code = (current as { code?: unknown }).code
    last = current.message === '' ? String(code ?? current.name) : current.message
  }
  return last
}

function both(first: AbortSignal | undefined, second: AbortSignal | null | undefined): AbortSignal | undefined {
  const signals = [first, second].filter((signal) => signal instanceof AbortSignal)
  return signals.length === 0 ? undefined : AbortSignal.any(signals)
}

async function send(input: Parameters<typeof fetch>[0], init: RequestInit, signal: AbortSignal | undefined): Promise<Response | Error> {
  try {
    return await fetch(input, init)
  } catch (error) {
    if (signal?.aborted) {
      throw new AbortError(signal.reason)
    }
    return error instanceof Error ? error : new Error(String(error))
  }
}

function retryAfter(header: string | null): number | undefined {
  if (header === null) {
    return undefined
  }
  const seconds = Number(header)
  const until = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now()
  return Number.isFinite(until) ? Math.max(0, until) : undefined
}
