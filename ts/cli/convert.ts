import { bytesText } from '../quantities.ts'
import { convertCheckpoint } from '../weights/convert.ts'
import type { SaveDType } from '../weights/save.ts'
import { note, print, printJson, UsageError } from './exit.ts'
import { interruptible } from './interrupt.ts'

/** Flags of `convert`. */
export type ConvertFlags = {
  dtype?: string
  maxShardSize?: string
  variant?: string
  config?: string
  extractEma?: boolean
  json?: boolean
}

const UNITS: Readonly<Record<string, number>> = { '': 1, kb: 1e3, mb: 1e6, gb: 1e9 }

/** Bytes of a size like `5GB`. */
function bytesOf(text: string): number {
  const [, digits = '', unit = ''] = /^([\d.]+)\s*([kmg]?b?)$/i.exec(text.trim()) ?? []
  const bytes = Number(digits) * (UNITS[unit.toLowerCase()] ?? Number.NaN)
  if (!(bytes >= 1)) {
    throw new UsageError(`Expected a size like 5GB or 500MB for --max-shard-size but received ${JSON.stringify(text)}`)
  }
  return Math.floor(bytes)
}

/** `convert`: writes a model in another layout, format or dtype. */
export async function convertCommand(input: string, output: string, flags: ConvertFlags): Promise<void> {
  const started = Date.now()
  const { maxShardSize, dtype, variant, config, extractEma } = flags
  let shown = ''
  let total = 0
  await interruptible(true, async ({ signal }) => {
    const { leftOut } = await convertCheckpoint(input, output, {
      dtype: dtype as SaveDType | undefined,
      variant,
      config,
      extractEma,
      maxShardSize: maxShardSize === undefined ? undefined : bytesOf(maxShardSize),
      signal,
      onProgress: (event) => {
        if (event.component !== shown && !flags.json) {
          note(`${event.component}: ${bytesText(event.total)}`)
        }
        total += event.component === shown ? 0 : event.total
        shown = event.component
      },
    })
    const seconds = (Date.now() - started) / 1000
    if (flags.json) {
      printJson({ input, output, bytes: total, seconds, leftOut })
      return
    }
    print(`${output}: ${bytesText(total)} in ${seconds.toFixed(1)} s`)
    for (const [what, tensors] of Object.entries(leftOut)) {
      print(`left out, as a folder has no place for it: ${what} (${tensors} ${tensors === 1 ? 'tensor' : 'tensors'})`)
    }
  })
}
