import { defineConfig } from 'tsup'

const shared = { target: 'node20', platform: 'node', shims: true, sourcemap: true, clean: false } as const
const index = { index: 'ts/index.ts' }

/** ESM is split, so that the command loads only what it needs; CJS is one file. All of it lies flat in dist/, one level below the addon. */
export default defineConfig([
  { ...shared, entry: { ...index, cli: 'ts/cli/main.ts' }, format: ['esm'], dts: { entry: index }, splitting: true },
  { ...shared, entry: index, format: ['cjs'], dts: { entry: index }, splitting: false },
])
