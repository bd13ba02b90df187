import type { NativeNeed } from '../native.ts'

/** Native memory that a run would need beyond what is held already, in bytes. */
export type MemoryNeed = {
  /** Second forms of weights that convolutions make in their first run of a size and keep. */
  kept: number
  /** The most that activations take at once, with what single operations take on the side. */
  activations: number
}

/** What native code tells of a run, for people. */
export function memoryNeed({ kept, activations, scratch }: NativeNeed): MemoryNeed {
  return { kept, activations: activations + scratch }
}
