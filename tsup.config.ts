import { defineConfig } from 'tsup'

/** BUILD_TYPES=none leaves the declarations out, only makes nothing else; by default everything is built. */
const types = process.env.BUILD_TYPES
// keepNames: model_index.json and errors speak of classes by their names.
const shared = { target: 'node20', platform: 'node', shims: true, sourcemap: true, clean: false, keepNames: true } as const
const index = { index: 'ts/index.ts' }
const dts = types === 'none' ? false : { entry: index, only: types === 'only' }

/** ESM is split, so that the command loads only what it needs; CJS is one file. All of it lies flat in dist/, one level below the addon. */
export default defineConfig([
  { ...shared, entry: { ...index, cli: 'ts/cli/main.ts' }, format: ['esm'], dts, splitting: true },
  ...(types === 'only' ? [] : [{ ...shared, entry: index, format: ['cjs' as const], dts, splitting: false }]),
])
