import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** The folder of golden values, if there is one: PARITY_DIR, else ../shared/parity, else test/fixtures/parity. */
export function packFolder(): string | undefined {
  const given = process.env.PARITY_DIR
  const candidates = given ? [resolve(root, given)] : [join(root, '..', 'shared', 'parity'), join(root, 'test', 'fixtures', 'parity')]
  return candidates.find((folder) => existsSync(folder))
}

/** A tensor of a safetensors file: u8 or f32. */
export type Stored = { shape: number[]; data: Uint8Array | Float32Array }

/** Reads the u8 and f32 tensors of a safetensors file without the code under test. */
export async function readSafetensors(path: string): Promise<Map<string, Stored>> {
  const file = await readFile(path)
  const length = Number(file.readBigUInt64LE(0))
  const header = JSON.parse(file.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  const found = new Map<string, Stored>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') {
      continue
    }
    const bytes = new Uint8Array(file.subarray(8 + length + entry.data_offsets[0], 8 + length + entry.data_offsets[1]))
    found.set(name, { shape: entry.shape, data: entry.dtype === 'U8' ? bytes : new Float32Array(bytes.buffer) })
  }
  return found
}
