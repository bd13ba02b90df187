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
  const complaints: string[] = []
  for (const [title, call, code, sentence] of refusals) {
    const error = await failureOf(call)
    if (!(error instanceof DiffusionError)) {
      complaints.push(`${title}: ${error instanceof Error ? error.stack : 'no error'}`)
    } else if (error.code !== code || !sentence.test(error.message) || error.message.length > 2000) {
      complaints.push(`${title}: expected ${code} ${sentence} but received ${error.code} "${error.message}"`)
    }
  }
  t.deepEqual(complaints, [])
}

async function failureOf(call: () => unknown): Promise<unknown> {
  try {
    await call()
    return undefined
  } catch (error) {
    return error
  }
}
