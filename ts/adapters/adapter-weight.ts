import { checkNumber, checkOptions } from '../checks.ts'
import { expected } from '../errors.ts'

/** Weights of one half of a UNet: one for all blocks, one for each layer of every block, or by block (`block_0`, ...). */
export type BlockWeights = number | readonly number[] | Readonly<Record<string, number | readonly number[]>>

/** Weights of a UNet's parts; parts that are not named have weight 1. They hold for all layers, not for attention alone. */
export interface UNetWeights {
  down?: BlockWeights
  mid?: number | readonly [number]
  up?: BlockWeights
}

/** How strongly an adapter acts: everywhere, or by component; components that are not named have weight 1. May be negative. */
export type AdapterWeight = number | { unet?: number | UNetWeights; textEncoder?: number; textEncoder2?: number; motionAdapter?: number }

/** A weight as native code takes it: one everywhere, others for layers whose names start with these words. */
export interface LayerWeights {
  weight: number
  parts?: Record<string, number>
}

/** Keys of a UNet's config that say which blocks it has. */
export interface UNetBlocks {
  readonly down_block_types: readonly string[]
  readonly up_block_types: readonly string[]
  readonly layers_per_block: number | readonly number[]
}

/** The components that adapters change; `motionAdapter` is AnimateDiff's. */
export const adapterComponents = ['unet', 'textEncoder', 'textEncoder2', 'motionAdapter'] as const

/** A component that adapters change. */
export type AdapterComponent = (typeof adapterComponents)[number]

/** Checks a weight; throws `InvalidArgumentError` for an unknown component or a number that is not finite. */
export function checkAdapterWeight(name: string, weight: unknown): AdapterWeight {
  if (typeof weight === 'number') {
    return checkNumber(name, weight)
  }
  const given = checkOptions(name, weight as Record<string, unknown>)
  for (const [key, value] of Object.entries(given)) {
    if (!(adapterComponents as readonly string[]).includes(key)) {
      throw expected(`one of ${adapterComponents.join(', ')}`, `a key of ${name}`, key)
    }
    if (key !== 'unet' || typeof value === 'number') {
      checkNumber(`${name}.${key}`, value)
    }
  }
  return given as AdapterWeight
}

/** `weight` times `factor`, in all its parts. */
export function scaledWeight(weight: AdapterWeight, factor: number): AdapterWeight {
  const scale = <T>(value: T): T => {
    if (typeof value === 'number') {
      return (value * factor) as T
    }
    if (Array.isArray(value)) {
      return value.map(scale) as T
    }
    return Object.fromEntries(Object.entries(value as object).map(([key, part]) => [key, scale(part)])) as T
  }
  if (typeof weight === 'number') {
    return weight * factor
  }
  const { unet = 1, textEncoder = 1, textEncoder2 = 1, motionAdapter = 1 } = weight
  const parts = typeof unet === 'number' ? unet : { down: 1, mid: 1, up: 1, ...unet }
  return {
    unet: scale(parts),
    textEncoder: textEncoder * factor,
    textEncoder2: textEncoder2 * factor,
    motionAdapter: motionAdapter * factor,
  }
}

/** The weight of one component; for a UNet with `blocks` also of its parts. */
export function weightsFor(component: AdapterComponent, weight: AdapterWeight, blocks?: UNetBlocks): LayerWeights {
  const own = typeof weight === 'number' ? weight : (weight[component] ?? 1)
  if (typeof own === 'number') {
    return { weight: checkNumber(`the weight of ${component}`, own) }
  }
  const { down, mid, up, ...unknown } = checkOptions('the weight of unet', own)
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined || blocks === undefined) {
    throw expected('down, mid or up', 'a key of the weight of unet', stranger)
  }
  const { layers_per_block: layers, down_block_types, up_block_types } = blocks
  const layersOf = (i: number): number => (typeof layers === 'number' ? layers : (layers[i] ?? 0))
  const last = down_block_types.length - 1
  const parts: Record<string, number> = {}
  if (mid !== undefined) {
    parts.mid_block = checkNumber('the weight of mid', typeof mid === 'object' && mid.length === 1 ? mid[0] : mid)
  }
  spread(parts, { name: 'down', weights: down, types: down_block_types, layers: layersOf })
  spread(parts, { name: 'up', weights: up, types: up_block_types, layers: (i) => layersOf(last - i) + 1 })
  return { weight: 1, parts }
}

type Half = {
  name: 'down' | 'up'
  weights: BlockWeights | undefined
  types: readonly string[]
  layers: (block: number) => number
}

/** Names the layers that the weights of one half are for; a block's sampler goes with its last layer. */
function spread(parts: Record<string, number>, { name, weights, types, layers }: Half): void {
  if (weights === undefined) {
    return
  }
  const byBlock = typeof weights === 'object' && !Array.isArray(weights)
  const named = byBlock ? (weights as Readonly<Record<string, number | readonly number[]>>) : {}
  const wrong = Object.keys(named).find((key) => !types.some((_, i) => key === `block_${i}`))
  if (wrong !== undefined) {
    throw expected(`block_0 to block_${types.length - 1}`, `a key of the weight of ${name}`, wrong)
  }
  for (const [i, type] of types.entries()) {
    const own = byBlock ? named[`block_${i}`] : (weights as number | readonly number[])
    if (own === undefined) {
      continue
    }
    const block = `${name}_blocks.${i}`
    const list = typeof own === 'number' ? [own] : own
    const label = `the weight of ${name}.block_${i}`
    if (!Array.isArray(list) || (list.length !== 1 && list.length !== layers(i))) {
      throw expected(`one number, or ${layers(i)} (one for each layer)`, label, own)
    }
    for (const [layer, value] of list.entries()) {
      checkNumber(label, value)
      parts[block] = value
      if (list.length > 1) {
        parts[`${block}.resnets.${layer}`] = value
        if (/Attn/.test(type)) {
          parts[`${block}.attentions.${layer}`] = value
        }
      }
    }
  }
}
