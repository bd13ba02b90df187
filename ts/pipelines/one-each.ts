import { expected } from '../errors.ts'

/** A value for each of several things of a kind. Throws `InvalidArgumentError` for a list of another length. */
export function oneEach<T>(
  value: T | readonly T[] | undefined,
  count: number,
  { name, of = 'ControlNets' }: { name: string; of?: string },
): (T | undefined)[] {
  const values = Array.isArray(value) ? (value as readonly T[]) : Array.from({ length: count }, () => value as T | undefined)
  if (values.length !== count) {
    throw expected(`one value, or one for each of ${count} ${of},`, name, value)
  }
  return [...values]
}
