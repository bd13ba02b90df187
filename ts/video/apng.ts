import { chunk, chunks, pngSignature } from '../image/metadata/png.ts'

/** Frames of an animation, each a whole PNG file of one size and colour type, shown for `delayMs` each, `loop` times (0 for ever). */
export function animatedPng(files: readonly Buffer[], { delayMs, loop }: { delayMs: number; loop: number }): Buffer {
  const parts: Buffer[] = [pngSignature]
  let sequence = 0
  for (const [i, file] of files.entries()) {
    const all = [...chunks(file)]
    const header = all.find(({ type }) => type === 'IHDR')
    const data = Buffer.concat(all.filter(({ type }) => type === 'IDAT').map((part) => part.data))
    if (header === undefined) {
      continue
    }
    if (i === 0) {
      const others = all.filter(({ type }) => type !== 'IHDR' && type !== 'IDAT' && type !== 'IEND')
      parts.push(
        chunk('IHDR', header.data),
        chunk('acTL', numbers(files.length, loop)),
        ...others.map(({ type, data }) => chunk(type, data)),
      )
    }
    parts.push(chunk('fcTL', Buffer.concat([numbers(sequence), header.data.subarray(0, 8), numbers(0, 0), timing(delayMs)])))
    sequence += 1
    if (i === 0) {
      parts.push(chunk('IDAT', data))
    } else {
      parts.push(chunk('fdAT', Buffer.concat([numbers(sequence), data])))
      sequence += 1
    }
  }
  parts.push(chunk('IEND', Buffer.alloc(0)))
  return Buffer.concat(parts)
}

function numbers(...values: number[]): Buffer {
  const out = Buffer.alloc(values.length * 4)
  for (const [i, value] of values.entries()) {
    out.writeUInt32BE(value, i * 4)
  }
  return out
}

/** Delay in milliseconds as a fraction, then: leave the frame as it is, replace the one before. Source: PNG specification, 3rd edition, 11.3.6. */
function timing(delayMs: number): Buffer {
  const out = Buffer.alloc(6)
  out.writeUInt16BE(Math.round(delayMs), 0)
  out.writeUInt16BE(1000, 2)
  return out
}
