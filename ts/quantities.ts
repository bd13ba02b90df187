/** Bytes for people: decimal units, three digits. */
export function bytesText(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3))
  const value = bytes / 1000 ** power
  return `${power === 0 ? value : value.toPrecision(3)} ${units[power]}`
}

/** A count for people: 860 M, 1.07 B. */
export function countText(count: number): string {
  const units = ['', ' k', ' M', ' B']
  const power = count < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(count) / 3))
  return `${power === 0 ? count : Number((count / 1000 ** power).toPrecision(3))}${units[power]}`
}
