import { expected } from '../errors.ts'
import { type AdapterWeight, adapterComponents, checkAdapterWeight, scaledWeight } from './adapter-weight.ts'
import type { AdapterComponentName, LoadedAdapter } from './loaded-adapter.ts'
import type { WeightedAdapter } from './lora-adapter.ts'
import type { Inversion } from './textual-inversion.ts'

/** An adapter that acts, and its name. */
export interface ActingAdapter extends WeightedAdapter {
  readonly name: string
}

/** Which adapters a pipeline has, and what they do; a value that changes give a new one of. */
export interface AdapterState {
  readonly loaded: ReadonlyMap<string, LoadedAdapter>
  /** Weights of the active adapters, by name and in order. */
  readonly active: ReadonlyMap<string, AdapterWeight>
  readonly enabled: boolean
  /** Adapters that act until `unfuseLora`, whatever happens to the others. */
  readonly fused: readonly ActingAdapter[]
  readonly inversions: readonly Inversion[]
}

/** No adapters. */
export const noAdapters: AdapterState = { loaded: new Map(), active: new Map(), enabled: true, fused: [], inversions: [] }

/** What a call changes of the pipeline's adapters. */
export interface CallAdapters {
  /** Weights of loaded adapters for this call, by name; others keep theirs, 0 turns one off. */
  loraWeights?: Readonly<Record<string, AdapterWeight>>
  /** `scale`: factor on the weights of all active adapters. */
  crossAttentionKwargs?: { scale?: number }
}

/** The adapters that act: the fused ones, and the active ones if they are enabled. */
export function actingAdapters(
  { loaded, active, enabled, fused }: AdapterState,
  { loraWeights = {}, crossAttentionKwargs }: CallAdapters = {},
): ActingAdapter[] {
  const weights = new Map(enabled ? active : [])
  for (const [name, weight] of Object.entries(loraWeights)) {
    weights.set(known(loaded, name, 'loraWeights'), checkAdapterWeight(`loraWeights.${name}`, weight))
  }
  const { scale = 1 } = crossAttentionKwargs ?? {}
  const isFused = new Set(fused.map(({ name }) => name))
  const acting = [...weights].filter(([name]) => !isFused.has(name))
  return [
    ...fused,
    ...acting.flatMap(([name, weight]) => {
      const adapter = loaded.get(name)?.adapter
      return adapter === undefined ? [] : [{ name, adapter, weight: scale === 1 ? weight : scaledWeight(weight, scale) }]
    }),
  ]
}

/** `name` if an adapter has it, else throws `InvalidArgumentError`. */
export function known(loaded: ReadonlyMap<string, unknown>, name: unknown, label: string): string {
  if (typeof name !== 'string' || !loaded.has(name)) {
    const names = [...loaded.keys()].join(', ')
    throw expected(names === '' ? 'the name of an adapter, and none is loaded,' : `one of ${names}`, label, name)
  }
  return name
}

/** One name or several, all of loaded adapters and each once. */
export function knownNames(state: AdapterState, names: string | readonly string[], label: string): string[] {
  const list = typeof names === 'string' ? [names] : names
  if (!Array.isArray(list) || new Set(list).size !== list.length) {
    throw expected('different names of adapters', label, names)
  }
  return list.map((name) => known(state.loaded, name, label))
}

/** State with these adapters active and no others; one weight for all, or one each. */
export function withActive(
  state: AdapterState,
  names: string | readonly string[],
  weights: AdapterWeight | readonly (AdapterWeight | undefined)[] = 1,
): AdapterState {
  const list = knownNames(state, names, 'adapterNames')
  const each = Array.isArray(weights) ? (weights as readonly (AdapterWeight | undefined)[]) : list.map(() => weights as AdapterWeight)
  if (each.length !== list.length) {
    throw expected(`one weight, or ${list.length} (one for each adapter)`, 'adapterWeights', weights)
  }
  const active = new Map(list.map((name, i) => [name, checkAdapterWeight('adapterWeights', each[i] ?? 1)]))
  return { ...state, active }
}

/** State without these adapters; what is fused stays. */
export function withoutAdapters(state: AdapterState, names: readonly string[]): AdapterState {
  const keep = <T>(map: ReadonlyMap<string, T>): Map<string, T> => new Map([...map].filter(([name]) => !names.includes(name)))
  return { ...state, loaded: keep(state.loaded), active: keep(state.active) }
}

/** State in which the acting weights of these adapters are fixed, times `scale`, for these components. */
export function withFused(
  state: AdapterState,
  { names, scale, components }: { names: readonly string[]; scale: number; components?: readonly AdapterComponentName[] },
): AdapterState {
  const fresh = names.filter((name) => !state.fused.some((item) => item.name === name && state.loaded.get(name)?.adapter === item.adapter))
  const fused = fresh.flatMap((name) => {
    const adapter = state.loaded.get(name)?.adapter
    const weight = scaledWeight(state.active.get(name) ?? 1, scale)
    return adapter === undefined ? [] : [{ name, adapter, weight: components === undefined ? weight : only(weight, components) }]
  })
  return { ...state, fused: [...state.fused, ...fused] }
}

function only(weight: AdapterWeight, components: readonly AdapterComponentName[]): AdapterWeight {
  const parts = typeof weight === 'number' ? { unet: weight, textEncoder: weight, textEncoder2: weight, motionAdapter: weight } : weight
  const off = adapterComponents.filter((name) => !components.includes(name)).map((name) => [name, 0])
  return { ...parts, ...Object.fromEntries(off) }
}
