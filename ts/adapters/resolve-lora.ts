import { readdir } from 'node:fs/promises'
import { join, parse } from 'node:path'
import { expected } from '../errors.ts'

/** Where LoRAs are found by name: a folder (its subfolders too), or a function that gives the path. */
export type LoraPlace = string | ((name: string) => string | undefined | Promise<string | undefined>)

const ENDINGS = ['.safetensors', '.pt', '.ckpt', '.bin']

/**
 * The path of the LoRA that `<lora:name:weight>` names: the file `name.safetensors` (or `.pt`, `.ckpt`, `.bin`) in the folder or below it.
 *
 * Throws `InvalidArgumentError` if there is none, naming those that there are.
 */
export async function resolveLora(name: string, place: LoraPlace): Promise<string> {
  if (typeof place === 'function') {
    const path = await place(name)
    if (typeof path !== 'string') {
      throw expected('a path', `the place of the LoRA '${name}'`, path)
    }
    return path
  }
  const entries = await readdir(place, { recursive: true }).catch(() => {
    throw expected('an existing folder', 'loras', place)
  })
  const files = entries.filter((path) => ENDINGS.includes(parse(path).ext)).sort((a, b) => rank(a) - rank(b) || a.localeCompare(b))
  const wanted = (path: string): boolean => {
    const { dir, name: stem } = parse(path)
    return stem === name || join(dir, stem) === join(name)
  }
  const found = files.find(wanted)
  if (found === undefined) {
    const names = [...new Set(files.map((path) => parse(path).name))].slice(0, 10)
    throw expected(names.length === 0 ? `a LoRA file in ${place}` : `one of ${names.join(', ')} (in ${place})`, 'the name of a LoRA', name)
  }
  return join(place, found)
}

function rank(path: string): number {
  return ENDINGS.indexOf(parse(path).ext)
}
