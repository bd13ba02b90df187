import type { ExecutionContext } from 'ava'
import { DiffusionError } from '../../ts/errors.ts'

/** One call that must be refused: what it is, the call, the code of the error, and what its sentence must name. */
export type Refusal = readonly [title: string, call: () => unknown, code: string, sentence: RegExp]

/** Stands in for a value of the wrong type, as plain JavaScript or JSON may pass it. */
export function wrong(value: unknown): never {
  return value as never
}

/** Asserts that every call ends in a typed error with the expected code and sentence, whether it throws or rejects. */
export async function assertRefused(t: ExecutionContext, refusals: readonly Refusal[]): Promise<void> {
  for (const [title, call, code, sentence] of refusals) {
    const error = await failureOf(call)
    if (!(error instanceof DiffusionError)) {
      t.fail(`${title}: ${error instanceof Error ? error.stack : 'no error'}`)
      continue
    }
    t.is(error.code, code, `${title}: ${error.message}`)
    t.regex(error.message, sentence, title)
    t.true(error.message.length < 2000, `${title}: the sentence is short`)
  }
}

async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call()
    return undefined
  } catch (error) {
    return error
  }
}
