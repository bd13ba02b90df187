import type { z } from 'zod'
import { expected } from '../errors.ts'
import { describeOptions } from './option.ts'

/**
 * Checks a call's options and fills in defaults.
 *
 * Throws `InvalidArgumentError` that names the first bad option, or the nearest known name of an unknown one.
 */
export function parseOptions<T extends z.ZodObject>(schema: T, options: unknown): z.output<T> {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw expected('an object of options', 'options', options)
  }
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null))
  const parsed = schema.safeParse(given)
  if (parsed.success) {
    return parsed.data
  }
  const issue = parsed.error.issues[0]
  if (issue?.code === 'unrecognized_keys' && issue.path.length === 0) {
    throw unknownOption(String(issue.keys[0]), Object.keys(schema.shape))
  }
  const name = String(issue?.path[0] ?? 'options')
  throw expected(describeOptions(schema)[name]?.expected ?? 'a valid value', name, given[name])
}

function unknownOption(name: string, known: readonly string[]): Error {
  const camel = name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  const nearest = known.map((item) => ({ item, far: distance(item, camel) })).sort((a, b) => a.far - b.far)[0]
  const hint = nearest !== undefined && nearest.far <= 3 ? `'${nearest.item}'` : `one of ${known.join(', ')}`
  return expected(hint, 'the name of an option', name)
}

/** Edit distance (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (const [i, left] of [...a].entries()) {
    const next = [i + 1]
    for (const [j, right] of [...b].entries()) {
      next.push(Math.min((row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1, (row[j] ?? 0) + (left === right ? 0 : 1)))
    }
    row = next
  }
  return row[b.length] ?? 0
}
