/** What this package keeps in EXIF: `comment` is the web UI's text (UserComment), `description` our JSON (ImageDescription). */
export type ExifTexts = { comment?: string; description?: string }

const imageDescription = 0x010e
const exifPointer = 0x8769
const userComment = 0x9286
const asciiType = 2
const longType = 4
const undefinedType = 7
const typeSizes: Record<number, number> = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8 }

type Entry = { tag: number; type: number; data: Buffer }

/** One directory with its values behind it, in a big-endian TIFF; `offset` is where the directory begins. */
function directory(entries: Entry[], offset: number): Buffer {
  const head = Buffer.alloc(2 + entries.length * 12 + 4)
  const values: Buffer[] = []
  let next = offset + head.length
  head.writeUInt16BE(entries.length, 0)
  entries.forEach(({ tag, type, data }, i) => {
    const at = 2 + i * 12
    head.writeUInt16BE(tag, at)
    head.writeUInt16BE(type, at + 2)
    head.writeUInt32BE(data.length / (typeSizes[type] ?? 1), at + 4)
    if (data.length <= 4) {
      data.copy(head, at + 8)
      return
    }
    head.writeUInt32BE(next, at + 8)
    values.push(data, Buffer.alloc(data.length % 2))
    next += data.length + (data.length % 2)
  })
  return Buffer.concat([head, ...values])
}

/** A TIFF block with UserComment as UTF-16 behind `UNICODE`, as the web UI (piexif) writes it. Source: EXIF 2.32 section 4.6.5. */
export function writeExif({ comment, description }: ExifTexts): Buffer {
  const utf16 = Buffer.from(comment ?? '', 'utf16le').swap16()
  const exif: Entry[] = [{ tag: userComment, type: undefinedType, data: Buffer.concat([Buffer.from('UNICODE\0', 'latin1'), utf16]) }]
  const first: Entry[] =
    description === undefined ? [] : [{ tag: imageDescription, type: asciiType, data: Buffer.from(`${description}\0`, 'utf8') }]
  const pointer = Buffer.alloc(4)
  const header = Buffer.from([0x4d, 0x4d, 0x00, 0x2a, 0x00, 0x00, 0x00, 0x08])
  const length = directory([...first, { tag: exifPointer, type: longType, data: pointer }], 8).length
  pointer.writeUInt32BE(8 + length, 0)
  return Buffer.concat([header, directory([...first, { tag: exifPointer, type: longType, data: pointer }], 8), directory(exif, 8 + length)])
}

function decodeComment(data: Buffer, little: boolean): string {
  const code = data.toString('latin1', 0, 8)
  const body = data.subarray(8)
  if (code !== 'UNICODE\0') {
    return body.toString('utf8').replace(/\0+$/, '')
  }
  const even = Buffer.from(body.subarray(0, body.length - (body.length % 2)))
  // Some writers use the other byte order than the TIFF header's; printable ASCII tells.
  const bigEndian = even.length >= 2 ? even[0] === 0 || (even[1] !== 0 && !little) : !little
  return (bigEndian ? even.swap16() : even).toString('utf16le').replace(/\0+$/, '')
}

function readEntries(tiff: Buffer, offset: number, little: boolean): Map<number, Buffer> {
  const u16 = (at: number): number => (little ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at))
  const u32 = (at: number): number => (little ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at))
  const found = new Map<number, Buffer>()
  for (let i = 0; i < u16(offset); i += 1) {
    const at = offset + 2 + i * 12
    const size = u32(at + 4) * (typeSizes[u16(at + 2)] ?? 1)
    const start = size <= 4 ? at + 8 : u32(at + 8)
    found.set(u16(at), tiff.subarray(start, start + size))
  }
  return found
}

/** Reads both texts from a TIFF block; a damaged block has none. */
export function readExif(tiff: Buffer): ExifTexts {
  try {
    const little = tiff.toString('latin1', 0, 2) === 'II'
    const at = (data: Buffer, offset = 0): number => (little ? data.readUInt32LE(offset) : data.readUInt32BE(offset))
    const first = readEntries(tiff, at(tiff, 4), little)
    const pointer = first.get(exifPointer)
    const comment = pointer === undefined ? undefined : readEntries(tiff, at(pointer), little).get(userComment)
    const description = first.get(imageDescription)
    return {
      ...(comment === undefined ? {} : { comment: decodeComment(comment, little) }),
      ...(description === undefined ? {} : { description: description.toString('utf8').replace(/\0+$/, '') }),
    }
  } catch {
    return {}
  }
}
