import { createRequire } from 'node:module'
import type Sharp from 'sharp'

type SharpModule = typeof Sharp

let loaded: SharpModule | undefined

/** sharp, loaded on first use: programs that only handle tensors do not pay for it. */
export function codec(): SharpModule {
  loaded ??= createRequire(import.meta.url)('sharp') as SharpModule
  return loaded
}
