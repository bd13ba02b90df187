import { stat } from 'node:fs/promises'
import { extname } from 'node:path'
import { abortable } from '../abort.ts'
import { codec } from '../image/codec.ts'
import { formatParameters } from '../image/metadata/parameters.ts'
import { readMetadata } from '../image/metadata/read.ts'
import { resolveModelFolder } from '../models/load.ts'
import { native } from '../native.ts'
import { print, printJson, UsageError } from './exit.ts'
import { bytesText, countText, table } from './table.ts'

/** What the native core found by reading headers; components of a pipeline folder have the same fields. */
type Found = {
  kind?: string
  family?: string
  dtype?: string
  parameters?: number
  bytes?: number
  components?: Record<string, Found> | Found[]
  [key: string]: unknown
}

const pictures = ['.png', '.jpg', '.jpeg', '.webp']

async function inspectPicture(path: string, flags: { json?: boolean }): Promise<void> {
  const { width, height, format, hasAlpha } = await codec()(path).metadata()
  const { parameters, json, texts } = await readMetadata(path)
  if (flags.json) {
    printJson({ kind: 'picture', format, width, height, hasAlpha, parameters: json, text: parameters, texts })
    return
  }
  print(`${format} picture, ${width} x ${height}${hasAlpha ? ', with alpha' : ''}`)
  print(parameters ?? (json === undefined ? 'It does not say what it was made with.' : formatParameters(json)))
}

function componentsOf({ components }: Found): [name: string, found: Found][] {
  return Array.isArray(components) ? components.map((found) => [String(found.name ?? found.kind), found]) : Object.entries(components ?? {})
}

/** Every component that holds weights, or the file itself. */
function leaves(found: Found): Found[] {
  const parts = componentsOf(found).map(([, part]) => part)
  return parts.length === 0 ? [found] : parts.flatMap(leaves)
}

/** Memory of the weights in f32, the type that the CPU computes in, and in half precision. */
function memory(found: Found): { f32: number; f16: number } {
  const parameters = leaves(found).reduce((sum, part) => sum + (part.parameters ?? 0), 0)
  return { f32: parameters * 4, f16: parameters * 2 }
}

function row(name: string, { kind, dtype, parameters, bytes }: Found): (string | number)[] {
  return [name, kind ?? '', dtype ?? '', parameters === undefined ? '' : countText(parameters), bytes === undefined ? '' : bytesText(bytes)]
}

function others(found: Found): [string, string][] {
  const known = new Set(['kind', 'family', 'dtype', 'parameters', 'bytes', 'components', 'path'])
  const shown = Object.entries(found).filter(([name, value]) => !known.has(name) && value !== null && value !== undefined)
  return shown.map(([name, value]) => [name, typeof value === 'object' ? JSON.stringify(value) : String(value)])
}

/** `inspect`: reads headers only and says what a folder or file is. */
export async function inspectCommand(path: string, flags: { json?: boolean }): Promise<void> {
  const entry = await stat(path).catch(() => undefined)
  if (entry?.isFile() && pictures.includes(extname(path).toLowerCase())) {
    return inspectPicture(path, flags)
  }
  const place = entry === undefined ? await resolveModelFolder(path).catch(() => undefined) : path
  if (place === undefined) {
    throw new UsageError(`Expected an existing folder or file for path but received ${JSON.stringify(path)}`)
  }
  const found = JSON.parse(await abortable(undefined, (token) => native.inspect(place, token))) as Found
  const needed = memory(found)
  if (flags.json) {
    printJson({ ...found, memory: needed })
    return
  }
  print([found.kind, found.family].filter((text) => text !== undefined && text !== null).join(', '))
  for (const line of table([
    ['', 'kind', 'dtype', 'parameters', 'size'],
    ...componentsOf(found).map(([name, part]) => row(name, part)),
    row('all', found),
  ])) {
    print(line)
  }
  for (const line of table(others(found))) {
    print(line)
  }
  print(`memory for the weights: ${bytesText(needed.f32)} in f32, ${bytesText(needed.f16)} in f16 or bf16; working memory comes on top`)
}
