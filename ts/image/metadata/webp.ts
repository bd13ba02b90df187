type RiffChunk = { type: string; data: Buffer }

const exifFlag = 0x08
const alphaFlag = 0x10

function riffChunks(file: Buffer): RiffChunk[] {
  const found: RiffChunk[] = []
  for (let at = 12; at + 8 <= file.length; ) {
    const size = file.readUInt32LE(at + 4)
    found.push({ type: file.toString('latin1', at, at + 4), data: file.subarray(at + 8, at + 8 + size) })
    at += 8 + size + (size % 2)
  }
  return found
}

function riffChunk({ type, data }: RiffChunk): Buffer {
  const head = Buffer.alloc(8)
  head.write(type, 0, 'latin1')
  head.writeUInt32LE(data.length, 4)
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)])
}

/** The header that lets a simple WebP file carry metadata. Source: WebP container specification, "Extended File Format". */
function extendedHeader(chunks: RiffChunk[], width: number, height: number): RiffChunk {
  const existing = chunks.find(({ type }) => type === 'VP8X')
  const data = existing === undefined ? Buffer.alloc(10) : Buffer.from(existing.data)
  if (existing === undefined) {
    const lossless = chunks.find(({ type }) => type === 'VP8L')
    const hasAlpha = lossless !== undefined && ((lossless.data[4] ?? 0) & 0x10) !== 0
    data[0] = hasAlpha ? alphaFlag : 0
    data.writeUIntLE(width - 1, 4, 3)
    data.writeUIntLE(height - 1, 7, 3)
  }
  data[0] = (data[0] ?? 0) | exifFlag
  return { type: 'VP8X', data }
}

function dimensions(chunks: RiffChunk[]): [width: number, height: number] {
  for (const { type, data } of chunks) {
    if (type === 'VP8L' && data.length >= 5) {
      const bits = data.readUInt32LE(1)
      return [(bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1]
    }
    if (type === 'VP8 ' && data.length >= 10) {
      return [data.readUInt16LE(6) & 0x3fff, data.readUInt16LE(8) & 0x3fff]
    }
  }
  return [1, 1]
}

/** Puts a TIFF block into a WebP file. */
export function writeWebpExif(file: Buffer, tiff: Buffer): Buffer {
  const chunks = riffChunks(file)
  const [width, height] = dimensions(chunks)
  const rest = chunks.filter(({ type }) => type !== 'VP8X' && type !== 'EXIF')
  const body = Buffer.concat([extendedHeader(chunks, width, height), ...rest, { type: 'EXIF', data: tiff }].map(riffChunk))
  const head = Buffer.alloc(12)
  head.write('RIFF', 0, 'latin1')
  head.writeUInt32LE(body.length + 4, 4)
  head.write('WEBP', 8, 'latin1')
  return Buffer.concat([head, body])
}

/** The TIFF block of a WebP file, if it has one. */
export function readWebpExif(file: Buffer): Buffer | undefined {
  const data = riffChunks(file).find(({ type }) => type === 'EXIF')?.data
  const mark = data?.toString('latin1', 0, 6) === 'Exif\0\0' ? 6 : 0
  return data?.subarray(mark)
}
