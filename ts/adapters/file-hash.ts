import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'

const known = new Map<string, Promise<string | undefined>>()

/**
 * What the web UI calls a file's short hash: 12 digits of the SHA-256 of its bytes, of a LoRA in safetensors of those behind the header. Computed
 * once as long as the file stays the same; undefined for a file that cannot be read. Source: AUTOMATIC1111 modules/hashes.py `addnet_hash_safetensors`.
 */
export async function shortHash(path: string, kind: 'lora' | 'embedding'): Promise<string | undefined> {
  const entry = await stat(path).catch(() => undefined)
  const key = `${kind} ${path} ${entry?.mtimeMs} ${entry?.size}`
  const found = known.get(key) ?? hashOf(path, kind).catch(() => undefined)
  known.set(key, found)
  return found
}

async function hashOf(path: string, kind: 'lora' | 'embedding'): Promise<string> {
  const start = kind === 'lora' && path.endsWith('.safetensors') ? await endOfHeader(path) : 0
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path, { start, highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer)
  }
  return hash.digest('hex').slice(0, 12)
}

/** Where the tensors of a safetensors file begin. */
async function endOfHeader(path: string): Promise<number> {
  await using file = await open(path)
  const size = Buffer.alloc(8)
  await file.read(size, 0, 8, 0)
  return 8 + Number(size.readBigUInt64LE())
}
