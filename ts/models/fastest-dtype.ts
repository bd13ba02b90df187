import { native } from '../native.ts'
import type { ModelDevice, WeightsDType } from './model.ts'

/** Below this many channels bytes win nothing: rounding the inputs takes as long as it saves. */
const wide = 256

/**
 * What `auto` stands for: the fastest type whose pictures stay within 30 dB of PSNR of those in f32 (docs/performance.md has the measurements). `int8` for
 * wide networks with transformers where the CPU multiplies bytes four times as fast as floats; else `f16`, as fast as `f32` in half the memory.
 */
export function fastestDType(config: object, device: ModelDevice): WeightsDType {
  const { level, cpuFeatures } = native.doctor()
  const widths: unknown = 'block_out_channels' in config ? config.block_out_channels : undefined
  const hasWideTransformers = 'cross_attention_dim' in config && Array.isArray(widths) && widths.every((width) => width >= wide)
  const multipliesBytes = (device === 'cpu' || device === 'meta') && level === 'avx512' && cpuFeatures.includes('avx512vnni')
  return hasWideTransformers && multipliesBytes ? 'int8' : 'f16'
}
