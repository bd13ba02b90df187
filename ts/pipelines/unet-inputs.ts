import type { UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import type { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'

/** What a condition adds to one UNet call; `sample` takes the place of the network's input. */
export type UNetInputs = Partial<Omit<UNetForwardOptions, 'signal'>> & { sample?: Tensor }

/**
 * Joins what two conditions add: residuals and features are summed, image prompts stand side by side, of anything else the later wins.
 *
 * New tensors belong to `scope`.
 */
export function mergeInputs(first: UNetInputs, second: UNetInputs, scope: Scope): UNetInputs {
  const merged = { ...first, ...second }
  for (const key of ['downBlockAdditionalResiduals', 'downIntrablockAdditionalResiduals'] as const) {
    merged[key] = both(first[key], second[key], (a, b) => sums(a, b, scope))
  }
  merged.imagePrompts = both(first.imagePrompts, second.imagePrompts, (a, b) => [...a, ...b])
  merged.midBlockAdditionalResidual = both(first.midBlockAdditionalResidual, second.midBlockAdditionalResidual, (a, b) =>
    scope.keep(a.add(b)),
  )
  return merged
}

function both<T>(a: T | undefined, b: T | undefined, join: (a: T, b: T) => T): T | undefined {
  return a === undefined || b === undefined ? (a ?? b) : join(a, b)
}

function sums(a: readonly Tensor[], b: readonly Tensor[], scope: Scope): Tensor[] {
  const [longer, shorter] = a.length >= b.length ? [a, b] : [b, a]
  return longer.map((tensor, i) => {
    const other = shorter[i]
    return other === undefined ? tensor : scope.keep(tensor.add(other))
  })
}
