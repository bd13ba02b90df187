import { checkOptions } from '../checks.ts'
import type { Tensor } from '../tensor.ts'
import { type Part, planSingleFile, type SingleFileOptions } from '../weights/single-file.ts'
import {
  type FromConfigOptions,
  type FromWeightsOptions,
  type LoadOptions,
  type LoadPlan,
  loadNative,
  type NativeLoad,
  planLoad,
  planRandom,
  planWeights,
  readConfig,
} from './load.ts'

/** How a class of networks is made. */
export interface Network<H, M, C extends string = string> {
  /** What it is called while loading, and in single files. */
  component: C
  /** The loader of the native class, looked up when a model is loaded. */
  load: () => NativeLoad<H>
  make: (handle: H, plan: LoadPlan) => M
}

/** A native network: what of its config and weights it did not know. */
type Loaded = { unknownKeys: string[]; unexpectedWeights: string[] }

/** Loads what was planned. Weights `elsewhere` belong to another model in the same file. */
export async function buildNetwork<H extends Loaded, M>(
  { load, make }: Network<H, M>,
  plan: LoadPlan,
  config: object,
  elsewhere?: RegExp,
): Promise<M> {
  return make(await loadNative(plan, config, load(), elsewhere), plan)
}

/** The `fromPretrained` of a class: `config.json` and weights of a folder, a built-in model or the hub. */
export async function networkOfFolder<H extends Loaded, M>(network: Network<H, M>, dir: string, options?: LoadOptions): Promise<M> {
  const plan = await planLoad(dir, options, network.component)
  return buildNetwork(network, plan, await readConfig(plan.source))
}

/** The `fromSingleFile` of a class; `check` may refuse a file by its config. */
export async function networkOfFile<H extends Loaded, M>(
  network: Network<H, M, Part>,
  path: string,
  options?: SingleFileOptions,
  check?: (config: Record<string, unknown>) => void,
): Promise<M> {
  const { plan, config } = await planSingleFile(path, options, network.component)
  check?.(config)
  return buildNetwork(network, plan, config)
}

/** The `fromConfig` of a class: random weights. */
export async function randomNetwork<H extends Loaded, M>(network: Network<H, M>, config: object, options?: FromConfigOptions): Promise<M> {
  return buildNetwork(network, planRandom(options, network.component), checkOptions('config', config))
}

/** The `fromWeights` of a class: tensors by checkpoint key. */
export async function networkOfWeights<H extends Loaded, M>(
  network: Network<H, M>,
  config: object,
  weights: Record<string, Tensor>,
  options?: FromWeightsOptions,
): Promise<M> {
  const plan = planWeights(weights, options, network.component)
  return buildNetwork(network, plan, checkOptions('config', config))
}
