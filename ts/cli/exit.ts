/** Exit codes of the command: `usage` for wrong arguments, `interrupted` as shells report SIGINT. */
export const exitCode = { ok: 0, failure: 1, usage: 2, interrupted: 130, terminated: 143 } as const

/** A mistake in the arguments; its message is the one sentence that the user sees. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Writes a line to stdout: results. */
export function print(line = ''): void {
  process.stdout.write(`${line}\n`)
}

/** Writes a line to stderr: everything about the run that is not its result. */
export function note(line = ''): void {
  process.stderr.write(`${line}\n`)
}

/** Writes the machine-readable result. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? String(item) : item), 2))
}
