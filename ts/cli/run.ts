import { CommanderError } from 'commander'
import { exitCode, note, printJson, UsageError } from './exit.ts'
import { createProgram } from './program.ts'

function codeOf(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : 'ERR_UNKNOWN'
}

/** Commander's own complaint as one sentence; it ends with the nearest known name where there is one. */
function usageSentence(message: string): string {
  if (message.includes('too many arguments')) {
    return 'Expected one argument but received several: put a text of several words in quotes'
  }
  const [first = '', hint] = message.replace(/^error: /, '').split('\n')
  const sentence = first.charAt(0).toUpperCase() + first.slice(1)
  return hint === undefined || hint === '' ? sentence : `${sentence.replace(/\.$/, '')}. ${hint.replace(/[()]/g, '')}`
}

function report(args: readonly string[], message: string, code: string): void {
  if (args.includes('--json')) {
    printJson({ error: { code, message } })
  }
  note(message)
}

/** Runs the command with the given arguments (without node and script) and resolves to its exit code. */
export async function runCli(args: readonly string[]): Promise<number> {
  try {
    const program = await createProgram(args)
    if (args.length === 0) {
      program.outputHelp()
      return exitCode.ok
    }
    await program.parseAsync([...args], { from: 'user' })
    return typeof process.exitCode === 'number' ? process.exitCode : exitCode.ok
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) {
        return exitCode.ok
      }
      report(args, usageSentence(error.message), 'ERR_USAGE')
      note('See node-diffusion --help.')
      return exitCode.usage
    }
    const code = error instanceof UsageError ? 'ERR_USAGE' : codeOf(error)
    report(args, error instanceof Error ? error.message : String(error), code)
    if (process.env.DEBUG && error instanceof Error) {
      note(error.stack)
    }
    return code === 'ERR_USAGE' || code === 'ERR_INVALID_ARGUMENT' ? exitCode.usage : exitCode.failure
  }
}
