import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The folder of goldens: `PARITY_DIR`, else the whole pack beside the checkout, else the committed part of it. */
export function parityPack(): string {
  const folders = ['../../../shared/parity', '../fixtures/parity'].map((path) => fileURLToPath(new URL(path, import.meta.url)))
  const found = [...(process.env.PARITY_DIR ? [process.env.PARITY_DIR] : folders)].find((folder) => existsSync(folder))
  if (found === undefined) {
    throw new Error(`Expected a folder of goldens for PARITY_DIR but received ${process.env.PARITY_DIR}`)
  }
  return found
}
