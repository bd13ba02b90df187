const exifMark = Buffer.from('Exif\0\0', 'latin1')

/** The largest payload of a JPEG segment. */
export const longestSegment = 65533 - exifMark.length

/** Puts a TIFF block into a JPEG file as its first segment. Source: EXIF 2.32 section 4.7.2. */
export function writeJpegExif(file: Buffer, tiff: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt16BE(0xffe1, 0)
  head.writeUInt16BE(2 + exifMark.length + tiff.length, 2)
  return Buffer.concat([file.subarray(0, 2), head, exifMark, tiff, file.subarray(2)])
}

/** The TIFF block of a JPEG file, if it has one. */
export function readJpegExif(file: Buffer): Buffer | undefined {
  for (let at = 2; at + 4 <= file.length && file[at] === 0xff; ) {
    const marker = file[at + 1] ?? 0
    const length = file.readUInt16BE(at + 2)
    if (marker === 0xda || length < 2) {
      return undefined // compressed data begins
    }
    const body = file.subarray(at + 4, at + 2 + length)
    if (marker === 0xe1 && body.subarray(0, exifMark.length).equals(exifMark)) {
      return body.subarray(exifMark.length)
    }
    at += 2 + length
  }
  return undefined
}
