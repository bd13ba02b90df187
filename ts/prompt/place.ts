import { InvalidArgumentError } from '../errors.ts'

/** Error about a place in a prompt: what is wrong, the text around it, and a caret under the place. */
export function promptError(what: string, text: string, at: number): InvalidArgumentError {
  const start = Math.max(0, at - 30)
  const lead = start > 0 ? '…' : ''
  const tail = at + 30 < text.length ? '…' : ''
  const line = (lead + text.slice(start, at + 30) + tail).replace(/\s/g, ' ')
  return new InvalidArgumentError(`${what} at character ${at} of the prompt:\n  ${line}\n  ${' '.repeat(lead.length + at - start)}^`)
}
