import { expected } from './errors.ts'

/** Range of a number; both ends are included. */
export type Range = { min?: number; max?: number }

/** Returns `value` if it is a whole number inside the range, else throws. */
export function checkInteger(
  name: string,
  value: unknown,
  { min = -Number.MAX_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }: Range = {},
): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
    throw expected(`a whole number${rangeText(min, max)}`, name, value)
  }
  return value
}

/** Returns `value` if it is a finite number inside the range, else throws. */
export function checkNumber(name: string, value: unknown, { min = -Infinity, max = Infinity }: Range = {}): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < min || value > max) {
    throw expected(`a finite number${rangeText(min, max)}`, name, value)
  }
  return value
}

/** Returns `value` if it is a string, else throws. */
export function checkString(name: string, value: unknown): string {
  if (typeof value !== 'string') {
    throw expected('a string', name, value)
  }
  return value
}

/** Returns `value` if it is true or false, else throws. */
export function checkBoolean(name: string, value: unknown): boolean {
  if (typeof value !== 'boolean') {
    throw expected('true or false', name, value)
  }
  return value
}

/** Returns `value` if it is one of the given strings, else throws. */
export function checkOneOf<T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((item) => item === value)
  if (found === undefined) {
    throw expected(`one of ${allowed.map((item) => `'${item}'`).join(', ')}`, name, value)
  }
  return found
}

/** Returns `value` if it is an array of whole numbers inside the range, else throws. */
export function checkIntegers(name: string, value: unknown, range: Range = {}): number[] {
  if (!Array.isArray(value)) {
    throw expected('an array of whole numbers', name, value)
  }
  return value.map((item: unknown, i) => checkInteger(`${name}[${i}]`, item, range))
}

/** Returns `value` if it is an array of sizes that native code can count, from `min` up, else throws. */
export function checkSizes(name: string, value: unknown, min = 0): number[] {
  return checkIntegers(name, value, { min, max: 2 ** 32 - 1 })
}

/** Returns `value` if it is a plain options object (or undefined, read as empty), else throws. */
export function checkOptions<T extends object>(name: string, value: T | undefined): T {
  if (value === undefined) {
    return {} as T
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw expected('an object', name, value)
  }
  return value
}

function rangeText(min: number, max: number): string {
  const low = min > -Number.MAX_SAFE_INTEGER
  const high = max < Number.MAX_SAFE_INTEGER
  if (low && high) {
    return ` from ${min} to ${max}`
  }
  return low ? ` of at least ${min}` : high ? ` of at most ${max}` : ''
}
