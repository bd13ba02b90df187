/**
 * Runs programs one after the other in this one process and prints a line of `mark` and JSON after each.
 * Arguments: a JSON list of { file, args, cwd }.
 */
import { pathToFileURL } from 'node:url'

/** What begins a line that reports a finished program. */
export const mark = '\u0002finished '

if (process.argv[1] === import.meta.filename) {
  const programs: { file: string; args: string[]; cwd: string }[] = JSON.parse(process.argv[2] ?? '[]')
  for (const { file, args, cwd } of programs) {
    process.chdir(cwd)
    process.argv = [process.execPath, file, ...args]
    const error = await import(pathToFileURL(file).href).then(
      () => undefined,
      (cause: unknown) => (cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)),
    )
    console.log(`${mark}${JSON.stringify({ file, error })}`)
  }
}
