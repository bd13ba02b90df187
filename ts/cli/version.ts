import { existsSync, readFileSync } from 'node:fs'

/** Version of this package, from its package.json. */
export function packageVersion(): string {
  const places = ['../package.json', '../../package.json'].map((place) => new URL(place, import.meta.url)) // built into dist/, or run from ts/cli/
  const found = places.find((place) => existsSync(place))
  const json: unknown = found === undefined ? {} : JSON.parse(readFileSync(found, 'utf8'))
  return typeof json === 'object' && json !== null && 'version' in json ? String(json.version) : 'unknown'
}
