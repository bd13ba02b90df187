import { setImmediate } from 'node:timers/promises'
import type { UNetForwardOptions } from '../models/unet-2d-condition-model.ts'
import type { Scope } from '../scope.ts'
import type { Tensor } from '../tensor.ts'

/** What a condition adds to one UNet call; `sample` takes the place of the network's input. */
export type UNetInputs = Partial<Omit<UNetForwardOptions, 'signal'>> & { sample?: Tensor }

/**
 * Joins what two conditions add: residuals and features are summed, image prompts stand side by side, of anything else the later wins.
 *
 * New tensors belong to `scope`. The event loop turns between two sums: a residual is as large as an image inside the UNet.
 */
export async function mergeInputs(first: UNetInputs, second: UNetInputs, scope: Scope): Promise<UNetInputs> {
  const merged = { ...first, ...second }
  for (const key of ['downBlockAdditionalResiduals', 'downIntrablockAdditionalResiduals'] as const) {
    merged[key] = await both(first[key], second[key], (a, b) => sums(a, b, scope))
  }
  merged.imagePrompts = await both(first.imagePrompts, second.imagePrompts, (a, b) => [...a, ...b])
  merged.midBlockAdditionalResidual = await both(first.midBlockAdditionalResidual, second.midBlockAdditionalResidual, (a, b) =>
    scope.keep(a.add(b)),
  )
  return merged
}

async function both<T>(a: T | undefined, b: T | undefined, join: (a: T, b: T) => T | Promise<T>): Promise<T | undefined> {
  return a === undefined || b === undefined ? (a ?? b) : join(a, b)
}

async function sums(a: readonly Tensor[], b: readonly Tensor[], scope: Scope): Promise<Tensor[]> {
  const [longer, shorter] = a.length >= b.length ? [a, b] : [b, a]
  const all: Tensor[] = []
  for (const [i, tensor] of longer.entries()) {
    const other = shorter[i]
    all.push(other === undefined ? tensor : scope.keep(tensor.add(other)))
    await setImmediate()
  }
  return all
}
