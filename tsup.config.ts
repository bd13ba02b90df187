import { existsSync } from 'node:fs'
import { defineConfig } from 'tsup'

const shared = { target: 'node20', platform: 'node', shims: true, sourcemap: true, clean: false } as const

export default defineConfig([
  { ...shared, entry: { index: 'ts/index.ts' }, format: ['esm', 'cjs'], dts: true, splitting: false },
  ...(existsSync('ts/cli/main.ts')
    ? [{ ...shared, entry: { cli: 'ts/cli/main.ts' }, format: ['esm' as const], dts: false, splitting: false }]
    : []),
])
