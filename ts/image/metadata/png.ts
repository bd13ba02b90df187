import { crc32, inflateSync } from 'node:zlib'

/** The eight bytes that begin every PNG file. */
export const pngSignature: Buffer = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

/** A part of a PNG file, from `start` to `end`. */
export type Chunk = { type: string; data: Buffer; start: number; end: number }

/** Longest text that is unpacked from one chunk, so that a crafted file cannot fill the memory. */
const longestText = 16 * 1024 * 1024

/** The chunks of a PNG file, up to the first damaged one. */
export function* chunks(file: Buffer): Generator<Chunk> {
  for (let start = pngSignature.length; start + 12 <= file.length; ) {
    const length = file.readUInt32BE(start)
    const end = start + 12 + length
    if (end > file.length) {
      return
    }
    yield { type: file.toString('latin1', start + 4, start + 8), data: file.subarray(start + 8, end - 4), start, end }
    start = end
  }
}

/** A chunk as it stands in a file. */
export function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const out = Buffer.alloc(body.length + 8)
  out.writeUInt32BE(data.length, 0)
  body.copy(out, 4)
  out.writeUInt32BE(crc32(body), body.length + 4)
  return out
}

/** A tEXt chunk if the text is Latin-1, else an uncompressed iTXt chunk in UTF-8, as Pillow's `PngInfo.add_text` chooses. */
function textChunk(key: string, text: string): Buffer {
  const latin = [...text].every((character) => (character.codePointAt(0) ?? 0) < 256)
  if (latin) {
    return chunk('tEXt', Buffer.from(`${key}\0${text}`, 'latin1'))
  }
  return chunk('iTXt', Buffer.concat([Buffer.from(`${key}\0\0\0\0\0`, 'latin1'), Buffer.from(text, 'utf8')]))
}

/** Puts texts into a PNG file, right after its header chunk. Source: PNG specification 11.3.3. */
export function writePngText(file: Buffer, texts: Record<string, string>): Buffer {
  const [header] = chunks(file)
  if (header === undefined) {
    return file
  }
  const added = Object.entries(texts).map(([key, text]) => textChunk(key, text))
  return Buffer.concat([file.subarray(0, header.end), ...added, file.subarray(header.end)])
}

function inflate(data: Buffer): Buffer {
  return inflateSync(data, { maxOutputLength: longestText })
}

function readText(type: string, data: Buffer): [key: string, text: string] | undefined {
  const end = data.indexOf(0)
  if (end < 1) {
    return undefined
  }
  const key = data.toString('latin1', 0, end)
  if (type === 'tEXt') {
    return [key, data.toString('latin1', end + 1)]
  }
  if (type === 'zTXt') {
    return [key, inflate(data.subarray(end + 2)).toString('latin1')]
  }
  const language = data.indexOf(0, end + 3)
  const translated = language === -1 ? -1 : data.indexOf(0, language + 1)
  if (translated === -1) {
    return undefined
  }
  const text = data.subarray(translated + 1)
  return [key, (data[end + 1] === 1 ? inflate(text) : text).toString('utf8')]
}

/** All texts of a PNG file by key (tEXt, zTXt, iTXt); damaged chunks are left out. */
export function readPngText(file: Buffer): Record<string, string> {
  const texts: Record<string, string> = {}
  for (const { type, data } of chunks(file)) {
    if (type !== 'tEXt' && type !== 'zTXt' && type !== 'iTXt') {
      continue
    }
    try {
      const found = readText(type, data)
      if (found !== undefined) {
        texts[found[0]] = found[1]
      }
    } catch {
      // a chunk that does not inflate holds no text
    }
  }
  return texts
}
