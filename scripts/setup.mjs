import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { attach, fail, root, say } from './terminal.mjs'
import { requireNativeTools, requireNode } from './tools.mjs'

const require = createRequire(import.meta.url)

/** What is built: the command, the files it is built from and one of the files that it writes. */
const parts = {
  native: {
    name: 'the native core (the first time takes some minutes)',
    sources: ['Cargo.toml', 'Cargo.lock', 'crates'],
    output: () => readdirSync(root).filter((name) => name.startsWith('node-diffusion.') && name.endsWith('.node'))[0],
    command: (profile) => [
      packageBin('@napi-rs/cli', 'napi'),
      ...['build', '--platform', ...(profile === 'debug' ? [] : ['--release'])],
      ...['--manifest-path', 'crates/node/Cargo.toml', '--package-json-path', 'package.json', '--output-dir', '.'],
      ...['--js', 'index.cjs', '--dts', 'index.d.ts'],
    ],
  },
  ts: {
    name: 'the JavaScript',
    sources: ['tsup.config.ts', 'tsconfig.json', 'ts'],
    output: () => join('dist', 'index.js'),
    command: () => [packageBin('tsup', 'tsup'), '--silent'],
    env: { BUILD_TYPES: 'none' },
    finish: (started) => removeOlder(join(root, 'dist'), started),
  },
  types: {
    name: 'the type declarations',
    sources: ['tsup.config.ts', 'tsconfig.json', 'index.d.ts', 'ts'],
    output: () => join('dist', 'index.d.cts'),
    command: () => [packageBin('tsup', 'tsup'), '--silent'],
    env: { BUILD_TYPES: 'only' },
    finish: () => copyFileSync(join(root, 'dist', 'index.d.ts'), join(root, 'dist', 'index.d.cts')),
  },
}

/** The script behind a package's `bin` entry, so that no shell and no npx is needed. */
export function packageBin(name, bin) {
  const folder = join(root, 'node_modules', name)
  const { bin: bins } = require(join(folder, 'package.json'))
  return join(folder, typeof bins === 'string' ? bins : bins[bin])
}

function files(path) {
  if (!existsSync(path)) return []
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path)
    .filter((name) => name !== 'target')
    .sort()
    .flatMap((name) => files(join(path, name)))
}

function sourceHash(part) {
  const hash = createHash('sha256')
  for (const file of part.sources.flatMap((source) => files(join(root, source)))) {
    hash
      .update(`${relative(root, file)}\0`)
      .update(readFileSync(file))
      .update('\0')
  }
  return hash.digest('hex')
}

const stampPath = (key) => join(root, '.cache', `${key}.json`)

function readStamp(key) {
  try {
    return JSON.parse(readFileSync(stampPath(key), 'utf8'))
  } catch {
    return undefined
  }
}

/** Up to date: this script built it from these very sources, or it was built by hand after the last change of any of them. */
function fresh(key, hash) {
  const part = parts[key]
  const output = part.output()
  if (output === undefined || !existsSync(join(root, output))) return false
  const built = statSync(join(root, output)).mtimeMs
  const stamp = readStamp(key)
  if (stamp?.built === built) return stamp.hash === hash
  return part.sources.flatMap((source) => files(join(root, source))).every((file) => statSync(file).mtimeMs <= built)
}

/** Removes scripts that earlier builds left in a folder: chunks have new names whenever their contents change. */
function removeOlder(folder, time) {
  for (const file of files(folder)) {
    if (/\.js(\.map)?$/.test(file) && statSync(file).mtimeMs < time - 1000) rmSync(file)
  }
}

async function build(key, profile) {
  const part = parts[key]
  const hash = sourceHash(part)
  if (profile === 'release' && fresh(key, hash)) return
  if (key === 'native') await requireNativeTools()
  say(`Building ${part.name} ...`)
  const started = Date.now()
  const code = await attach(process.execPath, part.command(profile), part.env)
  if (code !== 0) fail(`Building ${part.name} failed with exit code ${code}: the compiler's message is above.`)
  part.finish?.(started)
  const output = join(root, part.output())
  mkdirSync(join(root, '.cache'), { recursive: true })
  // A debug build stays until the sources change: its stamp is what release builds are compared with.
  writeFileSync(
    stampPath(key),
    JSON.stringify({ hash: sourceHash(part) === hash ? hash : 'changed while building', built: statSync(output).mtimeMs, profile }),
  )
}

async function install() {
  const installed = join(root, 'node_modules', '.package-lock.json')
  const lock = join(root, 'package-lock.json')
  if (existsSync(installed) && statSync(lock).mtimeMs <= statSync(installed).mtimeMs) return
  say('Installing the npm packages ...')
  const npm = process.env.npm_execpath
  // Not `npm ci`: it refuses a lock file that lacks a binary of some other platform, which not every registry offers.
  const args = ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error']
  const code = npm ? await attach(process.execPath, [npm, ...args]) : await attach(process.platform === 'win32' ? 'npm.cmd' : 'npm', args)
  if (code !== 0) fail(`npm install failed with exit code ${code}: check the network and run this again.`)
}

/**
 * Makes the checkout ready to run: npm packages, the native core and dist/, each only if it is missing or older than its sources.
 * The type declarations, which running needs not, are made with `{ types: true }`. With SKIP_BUILD=1 in the environment it takes what is there.
 */
export async function setup({ types = false } = {}) {
  requireNode()
  if (process.env.SKIP_BUILD === '1') return
  if (!fresh('native', sourceHash(parts.native))) await requireNativeTools() // before npm is kept busy for a minute
  await install()
  for (const key of types ? ['native', 'ts', 'types'] : ['native', 'ts']) await build(key, 'release')
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const args = process.argv.slice(2)
  const profile = args.includes('--debug') ? 'debug' : 'release'
  const chosen = args.filter((arg) => arg in parts)
  requireNode()
  await install()
  for (const key of chosen.length > 0 ? chosen : Object.keys(parts)) await build(key, profile)
}
