import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type * as Binding from '../index.js'
import { NativeLoadError } from './errors.ts'

export type {
  NativeAdapter,
  NativeAutoencoderKl,
  NativeAutoencoderTiny,
  NativeCancelToken,
  NativeClip,
  NativeClipVision,
  NativeControlNet,
  NativeControlNetUnion,
  NativeDpt,
  NativeGenerator,
  NativeIpAdapter,
  NativeLoadOptions,
  NativeLora,
  NativeMotion,
  NativeNeed,
  NativePiece,
  NativePriorTransformer,
  NativeRecord,
  NativeT2IAdapter,
  NativeTensor,
  NativeTokenizer,
  NativeUnet,
  NativeUnetInput,
  NativeVaeOptions,
  NativeVqModel,
} from '../index.js'

/** Absolute path of the package's root folder; ts/ and dist/ both lie one level below it. */
export const packageRoot: string = fileURLToPath(new URL('..', import.meta.url))

/** The native addon. Loaded once; this is the only module that loads it. */
export const native: typeof Binding = load()

function load(): typeof Binding {
  try {
    return createRequire(import.meta.url)('../index.cjs') as typeof Binding
  } catch (error) {
    throw new NativeLoadError(explain(error), { cause: error })
  }
}

function explain(error: unknown): string {
  const platform = `${process.platform}-${process.arch}`
  const forced = process.env.NAPI_RS_NATIVE_LIBRARY_PATH
  const built = existsSync(packageRoot) ? readdirSync(packageRoot).filter((name) => name.endsWith('.node')) : []
  const checkout = existsSync(`${packageRoot}crates`)
  return [
    `The native addon of node-diffusion could not be loaded on ${platform}, Node ${process.versions.node}.`,
    'Tried:',
    ...(forced === undefined ? [] : [`- ${forced} (from NAPI_RS_NATIVE_LIBRARY_PATH)`]),
    built.length === 0
      ? `- ${packageRoot}node-diffusion.${platform}*.node: no such file`
      : `- ${built.map((name) => packageRoot + name).join(', ')}`,
    `- the npm package @node-diffusion/native-${platform}*`,
    'What went wrong:',
    ...reasons(error).map((reason) => `- ${reason}`),
    'What to do:',
    checkout
      ? '- build it: npm run build:native (needs stable Rust from https://rustup.rs)'
      : '- install again with optional packages: npm install --include=optional node-diffusion',
    ...(process.platform === 'linux' ? ['- on Linux: the system needs glibc 2.34 or newer, or build from a checkout'] : []),
    '- if node_modules was copied from another machine or installed with --cpu/--os, run npm ci here',
  ].join('\n')
}

function reasons(error: unknown): string[] {
  const found: string[] = []
  for (let current: unknown = error; current instanceof Error && found.length < 6; current = current.cause) {
    const line = current.message.split('\n')[0]
    if (line !== undefined && !found.includes(line)) {
      found.push(line)
    }
  }
  return found.length === 0 ? [String(error)] : found
}
