import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fail, run } from './terminal.mjs'

const minimumNode = [20, 19]
const minimumRust = [1, 89] // AVX-512 intrinsics are stable from 1.89

const rustup =
  process.platform === 'win32' ? 'https://rustup.rs' : "`curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y`"

const compilerHelp = {
  darwin: '`xcode-select --install`',
  linux: '`sudo apt-get install build-essential` (Debian, Ubuntu), `sudo dnf install gcc` (Fedora) or `apk add build-base` (Alpine)',
}

function atLeast(version, minimum) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > minimum[0] || (major === minimum[0] && minor >= minimum[1])
}

/** Ends the script unless this is Node 20.19 or newer. */
export function requireNode() {
  if (!atLeast(process.versions.node, minimumNode)) {
    fail(
      `Node ${minimumNode.join('.')} or newer is needed, this is ${process.versions.node}: install it from https://nodejs.org or with \`nvm install 22\`.`,
    )
  }
}

async function version(command) {
  const { code, output } = await run(command, ['--version'], { echo: 'none' })
  return code === 0 ? (/(\d+\.\d+\.\d+)/.exec(output)?.[1] ?? '0.0.0') : undefined
}

/** Puts the folder where rustup installs on PATH, for shells that were opened before Rust was installed. */
function findRustup() {
  const folder = join(process.env.CARGO_HOME ?? join(homedir(), '.cargo'), 'bin')
  if (existsSync(folder) && !(process.env.PATH ?? '').split(delimiter).includes(folder)) {
    process.env.PATH = `${process.env.PATH}${delimiter}${folder}`
  }
}

/** Ends the script unless cargo, rustc 1.89 or newer and a C compiler are installed; says what to install and how. */
export async function requireNativeTools() {
  findRustup()
  const wanted = minimumRust.join('.')
  for (const tool of ['cargo', 'rustc']) {
    const found = await version(tool)
    if (found === undefined) {
      fail(
        `Rust ${wanted} or newer is needed to build the native core, but ${tool} was not found: install Rust with ${rustup} and run this again.`,
      )
    }
    if (!atLeast(found, minimumRust)) {
      fail(
        `Rust ${wanted} or newer is needed to build the native core, but this is ${tool} ${found}: run \`rustup update stable\` (or install Rust with ${rustup}).`,
      )
    }
  }
  if (process.platform === 'win32') return // rustc itself names the Visual Studio build tools when link.exe is missing
  for (const compiler of [process.env.CC, 'cc', 'gcc', 'clang']) {
    if (compiler && (await version(compiler)) !== undefined) return
  }
  fail(
    `A C compiler is needed to build the native core, but cc, gcc and clang were not found: install one with ${compilerHelp[process.platform] ?? "your system's packages"}.`,
  )
}

/** The target triple of this machine as rustc names it, for example `x86_64-unknown-linux-gnu`. */
export async function hostTriple() {
  findRustup()
  const { code, output } = await run('rustc', ['-vV'], { echo: 'none' })
  const host = /^host: (\S+)$/m.exec(output)?.[1]
  if (code !== 0 || host === undefined) fail(`rustc does not name its host: ${output.trim()}`)
  return host
}
