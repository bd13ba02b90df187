import { expected } from '../errors.ts'
import type { NativeAdapter } from '../native.ts'
import { type AdapterComponent, checkAdapterWeight, type UNetBlocks, weightsFor } from './adapter-weight.ts'
import { nativeLora, type WeightedAdapter } from './lora-adapter.ts'

/** Adapters as native code takes them for one component; throws `InvalidArgumentError`. */
export function nativeAdapters(adapters: readonly WeightedAdapter[], component: AdapterComponent, blocks?: UNetBlocks): NativeAdapter[] {
  if (!Array.isArray(adapters)) {
    throw expected('an array of { adapter, weight }', 'adapters', adapters)
  }
  return adapters.map(({ adapter, weight = 1 }: WeightedAdapter, i) => ({
    lora: nativeLora(adapter, `adapters[${i}].adapter`),
    ...weightsFor(component, checkAdapterWeight(`adapters[${i}].weight`, weight), blocks),
  }))
}
