import { basename, extname } from 'node:path'
import type { AdaptedComponents } from '../adapters/adapted-components.ts'
import { shortHash } from '../adapters/file-hash.ts'
import type { AdapterRecords, ControlRecord } from '../image/metadata/adapters.ts'

/** A name for what was loaded from a folder, file or repository: its last part, without the extension of weights. */
export function sourceName(source: string | undefined, fallback: string): string {
  if (source === undefined) {
    return fallback
  }
  const name = basename(source)
  return /\.(safetensors|bin|pt|pth|ckpt|gguf)$/.test(name) ? name.slice(0, -extname(name).length) : name
}

/** What a call was made with beside its options, for the pictures' metadata: what acted, and of the textual inversions those in the prompts. */
export async function adapterRecords(
  { adapters, inversions }: Pick<AdaptedComponents<object>, 'adapters' | 'inversions'>,
  controls: readonly ControlRecord[],
  prompts: readonly (string | undefined)[],
): Promise<AdapterRecords> {
  const hashOf = async (path: string | undefined, kind: 'lora' | 'embedding'): Promise<{ hash?: string }> => {
    const hash = path === undefined ? undefined : await shortHash(path, kind)
    return hash === undefined ? {} : { hash }
  }
  const acting = adapters.filter(({ weight }) => weight !== 0)
  const used = inversions.filter(({ token }) => prompts.some((prompt) => prompt?.includes(token)))
  const loras = await Promise.all(
    acting.map(async ({ name, adapter, weight = 1 }) => ({ name, weight, ...(await hashOf(adapter.source, 'lora')) })),
  )
  const textualInversions = await Promise.all(used.map(async ({ token, source }) => ({ token, ...(await hashOf(source, 'embedding')) })))
  return {
    ...(loras.length > 0 && { loras }),
    ...(textualInversions.length > 0 && { textualInversions }),
    ...(controls.length > 0 && { controls: [...controls] }),
  }
}
