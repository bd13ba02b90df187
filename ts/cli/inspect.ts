import { stat } from 'node:fs/promises'
import { extname } from 'node:path'
import { abortable } from '../abort.ts'
import { codec } from '../image/codec.ts'
import { formatParameters } from '../image/metadata/parameters.ts'
import { readMetadata } from '../image/metadata/read.ts'
import { localFolder } from '../models/source.ts'
import { native } from '../native.ts'
import { bytesText, countText } from '../quantities.ts'
import { print, printJson, UsageError } from './exit.ts'
import { table } from './table.ts'

/** What the native core found by reading headers; the components of a pipeline have the same fields. */
type Found = {
  kind: string
  class?: string | null
  family?: string | null
  dtype?: string | null
  parameters?: number
  bytes?: number
  memory?: Record<string, number>
  components?: Record<string, Found>
  /** False for a component without its folder. */
  present?: boolean
  metadata?: Record<string, string> | null
  /** Of a part of a pipeline: what is inside and how it was trained. */
  parts?: string[]
  layout?: string
  task?: string | null
  prediction_type?: string | null
  zero_terminal_snr?: boolean
  noise_levels?: string | null
  /** Numbers of tensors that a folder has no place for, by what they are. */
  left_out?: Record<string, number>
  /** Of an adapter. */
  lora?: {
    algorithms: Record<string, number>
    layers: Record<string, number>
    ranks: number[]
    scales: number[]
    alpha: string | null
    triggerWords: string[]
    embeddings: string[]
    strangers: number
  } | null
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

function row(name: string, { class: className, dtype, parameters, bytes, present }: Found): string[] {
  const size = present === false ? 'missing' : bytes ? bytesText(bytes) : ''
  return [name, className ?? '', dtype ?? '', parameters ? countText(parameters) : '', size]
}

function describe(found: Found): void {
  print([found.kind, found.class, found.family].filter((text) => text !== undefined && text !== null && text !== '').join(', '))
  const named = Object.entries(found.components ?? {}).filter(([, part]) => part.class) // model_index.json may leave a component empty
  const parts = named.map(([name, part]) => row(name, part))
  for (const line of table([['', 'class', 'dtype', 'parameters', 'size'], ...parts, row('all', { ...found, class: '' })])) {
    print(line)
  }
  for (const line of [...training(found), ...adapter(found)]) {
    print(line)
  }
  for (const [name, text] of Object.entries(found.metadata ?? {})) {
    print(`${name}: ${text.length > 200 ? `${text.slice(0, 200)}…` : text}`)
  }
  const memory = Object.entries(found.memory ?? {}).map(([dtype, bytes]) => `${bytesText(bytes)} as ${dtype}`)
  print(`memory for the weights: ${memory.join(', ')}; working memory comes on top`)
}

/** What a checkpoint's keys say of its training, where they say anything. */
function training({ parts, layout, task, prediction_type, zero_terminal_snr, noise_levels, left_out = {} }: Found): string[] {
  const kinds = [task, prediction_type, zero_terminal_snr ? 'zero terminal SNR' : undefined, noise_levels]
  const told = kinds.filter((text) => text !== undefined && text !== null)
  return [
    ...(parts === undefined ? [] : [`parts: ${parts.join(', ')} (${layout} names)`]),
    ...(told.length === 0 ? [] : [`trained for: ${told.join(', ')}`]),
    ...(Object.keys(left_out).length === 0 ? [] : [`besides: ${counts(left_out)}`]),
  ]
}

function counts(of: Record<string, number>): string {
  return Object.entries(of)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')
}

/** Rank, alpha and trigger words of an adapter. */
function adapter({ lora }: Found): string[] {
  if (!lora) {
    return []
  }
  const { ranks, scales, alpha, triggerWords, embeddings, strangers } = lora
  const strength = `alpha / rank: ${scales.join(', ')}${alpha === null ? '' : `; alpha: ${alpha}`}`
  return [
    `adapter: ${counts(lora.algorithms)}; layers: ${counts(lora.layers)}`,
    `${ranks.length === 0 ? '' : `rank: ${ranks.join(', ')}; `}${strength}`,
    ...(triggerWords.length === 0 ? [] : [`trigger words: ${triggerWords.join(', ')}`]),
    ...(embeddings.length === 0 ? [] : [`textual inversions inside: ${embeddings.join(', ')}`]),
    ...(strangers === 0 ? [] : [`${strangers} tensors of a kind that is not known`]),
  ]
}

/** `inspect`: reads headers only and says what a folder or file is. */
export async function inspectCommand(path: string, flags: { json?: boolean }): Promise<void> {
  const entry = await stat(path).catch(() => undefined)
  if (entry?.isFile() && pictures.includes(extname(path).toLowerCase())) {
    return inspectPicture(path, flags)
  }
  const place = entry === undefined ? await localFolder(path) : path
  if (place === undefined) {
    throw new UsageError(`Expected an existing folder or file for path but received ${JSON.stringify(path)}`)
  }
  const found = JSON.parse(await abortable(undefined, (token) => native.inspect(place, token))) as Found
  if (flags.json) {
    printJson({ path: place, ...found })
  } else {
    describe(found)
  }
}
