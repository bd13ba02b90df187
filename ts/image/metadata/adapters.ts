/** A LoRA that a picture was made with. */
export type LoraRecord = {
  name: string
  /** One number, or numbers by component and block as in `setAdapters`. */
  weight: unknown
  /** First 12 digits of the SHA-256 that the web UI tells files apart by. */
  hash?: string
}

/** A textual inversion that a prompt used. */
export type InversionRecord = { token: string; hash?: string }

/** A ControlNet, T2I-Adapter or IP-Adapter that a picture was made with. */
export type ControlRecord = {
  kind: 'controlnet' | 't2i-adapter' | 'ip-adapter'
  /** Name of the file, folder or repository. */
  model: string
  /** One number, or one for each residual, feature, layer or block. */
  weight: unknown
  /** Shares of the steps between which it acted. */
  start: number
  end: number
  guessMode?: boolean
}

/** The adapters of a picture. */
export type AdapterRecords = { loras?: LoraRecord[]; textualInversions?: InversionRecord[]; controls?: ControlRecord[] }

/** The tags of LoRAs that the prompt does not name yet, as the web UI has them in the prompt; block weights have no such tag. */
export function loraTags(prompt: string, { loras = [] }: AdapterRecords): string {
  const missing = loras.filter(({ name, weight }) => typeof weight === 'number' && !prompt.includes(`<lora:${name}:`))
  return missing.map(({ name, weight }) => ` <lora:${name}:${String(weight)}>`).join('')
}

/**
 * The fields of adapters: `Lora hashes`, `TI hashes` and `ControlNet 0`, ...
 *
 * Source: AUTOMATIC1111 extensions-builtin/Lora/extra_networks_lora.py, modules/processing.py; sd-webui-controlnet scripts/infotext.py.
 */
export function adapterFields({ loras = [], textualInversions = [], controls = [] }: AdapterRecords): [name: string, value: unknown][] {
  const hashes = (list: readonly { name: string; hash?: string }[]): string | undefined => {
    const known = list.filter(({ hash }) => hash !== undefined)
    return known.length === 0 ? undefined : known.map(({ name, hash }) => `${name.replaceAll(/[:,]/g, '')}: ${hash}`).join(', ')
  }
  return [
    ...controls.map((control, i): [string, unknown] => [`ControlNet ${i}`, unit(control)]),
    ['Lora hashes', hashes(loras)],
    ['TI hashes', hashes(textualInversions.map(({ token, hash }) => ({ name: token, hash })))],
  ]
}

function unit({ kind, model, weight, start, end, guessMode }: ControlRecord): string {
  const values = {
    Module: kind === 'ip-adapter' ? 'ip-adapter-auto' : kind === 't2i-adapter' ? 't2ia' : 'none',
    Model: model.replaceAll(/[:,]/g, ''),
    Weight: largest(weight),
    'Guidance Start': start,
    'Guidance End': end,
    'Control Mode': guessMode ? 'ControlNet is more important' : 'Balanced',
  }
  return Object.entries(values)
    .map(([name, value]) => `${name}: ${value}`)
    .join(', ')
}

/** The web UI has one weight for a unit. */
function largest(weight: unknown): number {
  if (typeof weight === 'number') {
    return weight
  }
  const parts = typeof weight === 'object' && weight !== null ? Object.values(weight) : []
  return parts.length === 0 ? 1 : Math.max(...parts.map(largest))
}

const hashField = /([^:,]+): ([0-9a-f]+)/g

/** Puts a field of adapters into records; false for any other field. Weights of LoRAs are those of the prompt's tags. */
export function readAdapterField(into: AdapterRecords, name: string, value: string, prompt: string): boolean {
  const pairs = (): { name: string; hash: string }[] =>
    [...value.matchAll(hashField)].map(([, key = '', hash = '']) => ({ name: key.trim(), hash }))
  if (name === 'Lora hashes') {
    into.loras = pairs().map((pair) => ({ name: pair.name, weight: weightIn(prompt, pair.name), hash: pair.hash }))
  } else if (name === 'TI hashes') {
    into.textualInversions = pairs().map((pair) => ({ token: pair.name, hash: pair.hash }))
  } else if (/^ControlNet \d+$/.test(name) && /\bModel: /.test(value)) {
    into.controls = [...(into.controls ?? []), readUnit(value)]
  } else {
    return false
  }
  return true
}

function weightIn(prompt: string, name: string): number {
  const tag = prompt.split(`<lora:${name}:`)[1]
  const weight = Number.parseFloat(tag ?? '')
  return Number.isFinite(weight) ? weight : 1
}

function readUnit(text: string): ControlRecord {
  const fields = new Map(text.split(', ').map((part) => part.split(': ', 2) as [string, string | undefined]))
  const number = (name: string, fallback: number): number => {
    const value = Number.parseFloat(fields.get(name) ?? '')
    return Number.isFinite(value) ? value : fallback
  }
  const module = fields.get('Module') ?? ''
  return {
    kind: module.startsWith('ip-adapter') ? 'ip-adapter' : module.startsWith('t2ia') ? 't2i-adapter' : 'controlnet',
    model: fields.get('Model') ?? '',
    weight: number('Weight', 1),
    start: number('Guidance Start', 0),
    end: number('Guidance End', 1),
    ...(fields.get('Control Mode') === 'ControlNet is more important' && { guessMode: true }),
  }
}
