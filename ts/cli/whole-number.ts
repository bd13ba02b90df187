import { UsageError } from './exit.ts'

/** The number after a flag; throws `UsageError` unless it is whole and large enough. */
export function wholeNumber(name: string, text: unknown, least: number): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value < least) {
    throw new UsageError(`Expected a whole number of at least ${least} for ${name} but received ${JSON.stringify(text)}`)
  }
  return value
}
