import { native } from '../native.ts'
import type { ModelDevice, WeightsDType } from './model.ts'

/** Below this many channels bytes win nothing: rounding the inputs takes as long as it saves. */
const wide = 256

/**
 * What `auto` stands for: the fastest type whose pictures stay within 30 dB of PSNR of those in f32 (docs/performance.md has the measurements). For wide
 * networks with transformers `fast` where the CPU has products of bytes and of bf16, four times and twice as fast as those of f32, and `int8` where it has those
 * of bytes; else `f16`, as fast as `f32` in half the memory.
 */
export function fastestDType(config: object, device: ModelDevice): WeightsDType {
  const { level, bf16, cpuFeatures } = native.doctor()
  const widths: unknown = 'block_out_channels' in config ? config.block_out_channels : undefined
  const hasWideTransformers = 'cross_attention_dim' in config && Array.isArray(widths) && widths.every((width) => width >= wide)
  const multipliesBytes = (device === 'cpu' || device === 'meta') && level === 'avx512' && cpuFeatures.includes('avx512vnni')
  if (!hasWideTransformers || !multipliesBytes) {
    return 'f16'
  }
  return bf16 === 'bf16' ? 'fast' : 'int8'
}
