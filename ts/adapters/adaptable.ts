import { AsyncLocalStorage } from 'node:async_hooks'
import { throwIfAborted } from '../abort.ts'
import { checkNumber, checkOptions, checkString } from '../checks.ts'
import { expected, WeightsError } from '../errors.ts'
import { nativeClipOf } from '../models/clip-text-model.ts'
import type { CLIPTokenizer } from '../models/clip-tokenizer.ts'
import { nativeUnetOf } from '../models/unet-2d-condition-model.ts'
import type { Tensor } from '../tensor.ts'
import { nativeMotionOf } from '../video/motion-adapter.ts'
import { type AdaptableComponents, AdaptedComponents } from './adapted-components.ts'
import {
  type AdapterState,
  actingAdapters,
  type CallAdapters,
  knownNames,
  noAdapters,
  withActive,
  withFused,
  withoutAdapters,
} from './adapter-state.ts'
import type { AdapterWeight } from './adapter-weight.ts'
import type { AdapterComponentName } from './loaded-adapter.ts'
import { bundledWith, LoraAdapter, type LoraFileOptions, reportOn } from './lora-adapter.ts'
import type { LoraReport } from './lora-report.ts'
import { type LoraPlace, resolveLora } from './resolve-lora.ts'
import { checkInversion, type Inversion, type InversionOptions, type InversionSource, readInversion } from './textual-inversion.ts'

/** How an adapter is loaded. */
export interface LoadLoraOptions extends LoraFileOptions {
  /** What it is called. @default 'default_0', 'default_1', ... */
  adapterName?: string
  /** Throws `WeightsError` if a key of the file finds no layer. @default false */
  strict?: boolean
}

/** A LoRA that a prompt names, and its weight. */
export interface NamedLora {
  name: string
  weight: number
}

/** The components that a call started with, for everything that runs in it. */
const running = new AsyncLocalStorage<{ host: object; components: object }>()

/**
 * Components that adapters (LoRA and its relatives, textual inversion) change, and the adapters.
 *
 * A change makes new models, which share all layers that it leaves alone and are built when they are first used; running calls keep those that
 * they started with. Without adapters the components are the given ones themselves, bit for bit. Source: diffusers loaders/lora_base.py,
 * loaders/textual_inversion.py.
 */
export abstract class Adaptable<C extends object> {
  /** Where `<lora:name:weight>` in prompts finds adapters that are not loaded. @default nowhere */
  loras: LoraPlace | undefined
  readonly #base: Readonly<C>
  readonly #named = new Map<string, LoraAdapter>()
  #state: AdapterState
  #current: AdaptedComponents<C>

  constructor(components: C, state: AdapterState = noAdapters) {
    this.#base = Object.freeze({ ...components })
    this.#state = state
    this.#current = new AdaptedComponents(this.#base, actingAdapters(state), state.inversions)
  }

  /** The components, with the adapters that are active. */
  get components(): Readonly<C> {
    const run = running.getStore()
    return run?.host === this ? (run.components as Readonly<C>) : this.#current.components
  }

  /** The components without adapters. */
  protected get baseComponents(): Readonly<C> {
    return this.#base
  }

  /** The adapters. */
  protected get adapterState(): AdapterState {
    return this.#state
  }

  /**
   * Loads an adapter and makes it the active one, at weight 1; others stay loaded. Returns what of the file found a layer. Textual inversions
   * in the file (`bundle_emb`) can be used while it is loaded, apart from those whose token there is already.
   *
   * Throws `WeightsError` for a file that holds no adapter, none of whose keys finds a layer, or whose shapes do not fit.
   */
  async loadLoraWeights(
    source: string | Readonly<Record<string, Tensor>>,
    options: LoadLoraOptions = {},
  ): Promise<LoraReport & { adapterName: string }> {
    this.assertUsable()
    const { adapterName: wanted, strict = false, ...file } = checkOptions('options', options)
    this.#newName(wanted)
    const adapter = await LoraAdapter.load(source, file)
    const report = await this.#match(adapter, file.signal)
    if (strict && report.unmatched.length > 0) {
      const some = report.unmatched.slice(0, 5).join(', ')
      throw new WeightsError(`Expected a layer for every key but received ${report.unmatched.length} without one: ${some}`)
    }
    const bundled = await this.#bundled(adapter)
    // Another adapter may have come in the meantime.
    const adapterName = this.#newName(wanted)
    const loaded = new Map(this.#state.loaded).set(adapterName, { adapter, report })
    const inversions = [...this.#state.inversions, ...bundled.map((inversion) => ({ ...inversion, adapter: adapterName }))]
    this.#change({ ...this.#state, loaded, active: new Map([[adapterName, 1]]), inversions })
    return { ...report, adapterName }
  }

  /** Makes these adapters active and no others, with one weight for all or one each: a number, or numbers by component and block. */
  setAdapters(adapterNames: string | readonly string[], adapterWeights?: AdapterWeight | readonly (AdapterWeight | undefined)[]): void {
    this.#change(withActive(this.#state, adapterNames, adapterWeights))
  }

  /** Turns all adapters off without forgetting them or their weights; what is fused stays. */
  disableLora(): void {
    this.#change({ ...this.#state, enabled: false })
  }

  /** Turns the active adapters on again. */
  enableLora(): void {
    this.#change({ ...this.#state, enabled: true })
  }

  /** Forgets adapters. */
  deleteAdapters(adapterNames: string | readonly string[]): void {
    this.#change(withoutAdapters(this.#state, knownNames(this.#state, adapterNames, 'adapterNames')))
  }

  /**
   * Fixes the active adapters (or those named) at their weights times `loraScale`, until `unfuseLora`: they stay through `setAdapters`,
   * `disableLora` and `unloadLoraWeights`. The models are the same as without fusing.
   */
  fuseLora(
    options: { adapterNames?: string | readonly string[]; loraScale?: number; components?: readonly AdapterComponentName[] } = {},
  ): void {
    const { adapterNames, loraScale = 1, components } = checkOptions('options', options)
    const names = adapterNames === undefined ? [...this.#state.active.keys()] : knownNames(this.#state, adapterNames, 'adapterNames')
    this.#change(withFused(this.#state, { names, scale: checkNumber('loraScale', loraScale), components }))
  }

  /** Takes fused adapters out again, exactly. */
  unfuseLora(): void {
    this.#change({ ...this.#state, fused: [] })
  }

  /** Forgets all adapters; what is fused stays. Afterwards the components are those from before, bit for bit. */
  unloadLoraWeights(): void {
    this.#named.clear()
    this.#change({ ...noAdapters, fused: this.#state.fused, inversions: this.#state.inversions })
  }

  /** Names of the active adapters, in order. */
  getActiveAdapters(): string[] {
    return [...this.#state.active.keys()]
  }

  /** Names of the loaded adapters by the components that they change. */
  getListAdapters(): Partial<Record<AdapterComponentName, string[]>> {
    const names: Partial<Record<AdapterComponentName, string[]>> = {}
    const components = {
      unet: 'unet',
      text_encoder: 'textEncoder',
      text_encoder_2: 'textEncoder2',
      motion_adapter: 'motionAdapter',
    } as const
    for (const [name, { report }] of this.#state.loaded) {
      for (const [key, component] of Object.entries(components)) {
        if (report.layers[key as keyof typeof components] !== undefined) {
          names[component] = [...(names[component] ?? []), name]
        }
      }
    }
    return names
  }

  /**
   * Loads textual inversions: tokens of their own for prompts, in tokenizers and text encoders. Returns them with their tokens.
   *
   * Throws `InvalidArgumentError` for a token that is in the vocabulary, `WeightsError` for vectors of another width.
   */
  async loadTextualInversion(
    source: InversionSource | readonly InversionSource[],
    options: Omit<InversionOptions, 'token'> & { token?: string | readonly string[] } = {},
  ): Promise<readonly Inversion[]> {
    this.assertUsable()
    const { token, ...rest } = checkOptions('options', options)
    const sources = Array.isArray(source) ? (source as readonly InversionSource[]) : [source as InversionSource]
    const tokens = Array.isArray(token) ? (token as readonly string[]) : [token as string | undefined]
    if (Array.isArray(token) && (tokens.length !== sources.length || new Set(tokens).size !== tokens.length)) {
      throw expected(`${sources.length} different tokens, one for each source`, 'token', token)
    }
    let state = this.#state
    const found: Inversion[] = []
    for (const [i, item] of sources.entries()) {
      const inversion = await readInversion(item, { ...rest, token: tokens[i] })
      using trial = new AdaptedComponents(this.#base, [], [...this.#state.inversions, ...found])
      this.#checkInversion(inversion, trial.components)
      found.push(inversion)
    }
    state = { ...this.#state, inversions: [...this.#state.inversions, ...found] }
    this.#change(state)
    return found
  }

  /** Takes textual inversions out again, all or those of these tokens; tokenizers and tables are then as they were. */
  unloadTextualInversion(tokens?: string | readonly string[]): void {
    const { inversions } = this.#state
    const list = tokens === undefined ? inversions.map(({ token }) => token) : typeof tokens === 'string' ? [tokens] : tokens
    const stranger = list.find((name) => !inversions.some(({ token }) => token === name))
    if (stranger !== undefined) {
      throw expected(`one of ${inversions.map(({ token }) => token).join(', ') || 'no tokens, as none is loaded'}`, 'tokens', stranger)
    }
    this.#change({ ...this.#state, inversions: inversions.filter(({ token }) => !list.includes(token)) })
  }

  /** The prompt as it is encoded: each token of several vectors followed by its others. */
  maybeConvertPrompt(prompt: string, tokenizer?: CLIPTokenizer): string
  maybeConvertPrompt(prompt: readonly string[], tokenizer?: CLIPTokenizer): string[]
  maybeConvertPrompt(prompt: string | readonly string[], tokenizer?: CLIPTokenizer): string | string[] {
    const { tokenizer: first, tokenizer2 } = this.components as Readonly<Partial<AdaptableComponents>>
    const reader = tokenizer ?? first ?? tokenizer2
    const convert = (text: string): string => reader?.expandPrompt(text) ?? text
    return typeof prompt === 'string' ? convert(prompt) : prompt.map(convert)
  }

  /** Throws `DisposedError` after `dispose()`. */
  protected abstract assertUsable(): void

  /** Frees the models that were made for adapters. */
  protected releaseAdapters(): void {
    this.#current.release()
  }

  /** The components of one call, built; its own where the call or its prompts change weights. Release them after the call. */
  protected async adaptCall(call: CallAdapters, tags: readonly NamedLora[], signal: AbortSignal): Promise<AdaptedComponents<C>> {
    throwIfAborted(signal)
    const own = tags.length > 0 || call.loraWeights !== undefined || call.crossAttentionKwargs !== undefined
    const adapted = own ? await this.#adaptedFor(call, tags) : this.#current.retain()
    try {
      await adapted.prepare(signal)
      return adapted
    } catch (error) {
      adapted.release()
      throw error
    }
  }

  /** Runs a call in which `components` are these. */
  protected inComponents<T>(adapted: AdaptedComponents<C>, work: () => Promise<T>): Promise<T> {
    return running.run({ host: this, components: adapted.components }, work)
  }

  async #adaptedFor(call: CallAdapters, tags: readonly NamedLora[]): Promise<AdaptedComponents<C>> {
    const state = this.#state
    const loaded = new Map(state.loaded)
    const weights: Record<string, AdapterWeight> = { ...call.loraWeights }
    for (const { name, weight } of tags) {
      if (!loaded.has(name)) {
        const adapter = await this.#byName(name)
        loaded.set(name, { adapter, report: await this.#match(adapter) })
      }
      weights[name] ??= weight
    }
    const acting = actingAdapters({ ...state, loaded }, { ...call, loraWeights: weights })
    return new AdaptedComponents(this.#base, acting, state.inversions)
  }

  async #byName(name: string): Promise<LoraAdapter> {
    const known = this.#named.get(name)
    if (known !== undefined) {
      return known
    }
    if (this.loras === undefined) {
      const names = [...this.#state.loaded.keys()].join(', ') || 'none is'
      throw expected(`a loaded adapter (${names}), or a folder as the pipeline's property loras,`, `<lora:${name}>`, name)
    }
    const adapter = await LoraAdapter.load(await resolveLora(name, this.loras))
    this.#named.set(name, adapter)
    return adapter
  }

  #match(adapter: LoraAdapter, signal?: AbortSignal): Promise<LoraReport> {
    const { unet, textEncoder, textEncoder2, motionAdapter } = this.#base as Readonly<Partial<AdaptableComponents>>
    const models = {
      unet: unet && nativeUnetOf(unet),
      textEncoder: textEncoder ? nativeClipOf(textEncoder) : undefined,
      textEncoder2: textEncoder2 ? nativeClipOf(textEncoder2) : undefined,
      motionAdapter: motionAdapter && nativeMotionOf(motionAdapter),
    }
    return reportOn(adapter, models, signal)
  }

  #checkInversion(inversion: Inversion, components: Readonly<C>): void {
    const { tokenizer, textEncoder, tokenizer2, textEncoder2 } = components as Readonly<Partial<AdaptableComponents>>
    const first = tokenizer && textEncoder ? { tokenizer, textEncoder } : undefined
    const second = tokenizer2 && textEncoder2 ? { tokenizer: tokenizer2, textEncoder: textEncoder2 } : undefined
    const pairs = [[inversion.first, first] as const, [inversion.second, second] as const]
    const fitting = pairs.filter(([vectors, pair]) => vectors !== undefined && pair !== undefined)
    if (fitting.length === 0) {
      throw new WeightsError(`Expected embeddings for a text encoder of this pipeline for '${inversion.token}' but received others`)
    }
    for (const [vectors, pair] of fitting) {
      if (vectors !== undefined && pair !== undefined) {
        checkInversion(inversion, vectors, pair)
      }
    }
  }

  /** The textual inversions that came with an adapter and whose tokens are new. */
  async #bundled(adapter: LoraAdapter): Promise<Inversion[]> {
    const { components } = this.#current
    const { tokenizer } = components as Readonly<Partial<AdaptableComponents>>
    const found: Inversion[] = []
    for (const [token, tensors] of bundledWith(adapter)) {
      if (tokenizer && !tokenizer.has(token)) {
        const inversion = await readInversion(tensors, { token })
        this.#checkInversion(inversion, components)
        found.push(inversion)
      }
    }
    return found
  }

  #change(state: AdapterState): void {
    this.assertUsable()
    const inversions = state.inversions.filter(({ adapter }) => adapter === undefined || state.loaded.has(adapter))
    const next = new AdaptedComponents(this.#base, actingAdapters(state), inversions)
    this.#current.release()
    this.#current = next
    this.#state = { ...state, inversions }
  }

  /** The name of a new adapter, a free one unless one is wanted; throws `InvalidArgumentError` for one that is taken. */
  #newName(wanted: string | undefined): string {
    const name = wanted === undefined ? this.#freeName() : checkString('adapterName', wanted)
    if (name === '' || this.#state.loaded.has(name)) {
      throw expected('a name that no loaded adapter has', 'adapterName', name)
    }
    return name
  }

  #freeName(): string {
    let i = 0
    while (this.#state.loaded.has(`default_${i}`)) {
      i += 1
    }
    return `default_${i}`
  }
}
