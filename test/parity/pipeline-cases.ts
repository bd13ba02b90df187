import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import * as nd from '../../ts/index.ts'
import { resolveScheduler, type Scheduler, type SchedulerConfig, schedulerFromConfig, schedulers } from '../../ts/schedulers/index.ts'
import { Uncovered } from './tally.ts'

/** One stored call of a whole pipeline. */
export type PipelineCase = {
  name: string
  pipe: string
  base: string
  models: Record<string, string | string[]>
  scheduler?: [className: string, overrides: SchedulerConfig]
  call: Record<string, unknown>
  setup?: { freeu?: nd.FreeUOptions; ip_adapter?: unknown[]; ip_scale?: number | number[]; vae_tiling?: boolean }
  init?: Record<string, unknown>
  scheduler_config?: SchedulerConfig
  low_res_scheduler?: SchedulerConfig
  unet_timesteps?: number[]
  unet_in_encoder_hidden_states?: (string | null)[]
  error?: { type: string; message: string }
}

/** A pipeline that can run a case: any of the SDK's, seen through one signature. */
export type AnyPipeline = {
  readonly unet: nd.UNet2DConditionModel
  readonly vae: nd.AutoencoderKL
  generate(options: Record<string, unknown>): PromiseLike<nd.GenerateResult>
  loadIpAdapter: nd.DiffusionPipeline['loadIpAdapter']
  setIpAdapterScale: nd.DiffusionPipeline['setIpAdapterScale']
  dispose(): void
}

type LoadablePipeline = { fromPretrained(source: string, options: Record<string, unknown>): Promise<AnyPipeline>; slots: nd.Slots }

/** Parts of `setup` that a test can bring about. */
const knownSetup = new Set(['freeu', 'vae_tiling', 'ip_adapter', 'ip_scale'])

/** Why a case cannot be run by this build, or undefined if it can. */
export function missingSupport({ pipe, models, scheduler, setup }: PipelineCase): string | undefined {
  const known = pipelineClass(pipe)
  if (known === undefined) {
    return `no class ${pipe}`
  }
  if (scheduler !== undefined && !schedulers.list().some(({ className }) => className === scheduler[0])) {
    return `no class ${scheduler[0]}`
  }
  const part = Object.keys(models).find((name) => known.slots[camelCase(name)] === undefined)
  if (part !== undefined) {
    return `no component ${part}`
  }
  return Object.keys(setup ?? {}).find((name) => !knownSetup.has(name))
}

function pipelineClass(name: string): LoadablePipeline | undefined {
  const found: unknown = (nd as Record<string, unknown>)[name]
  return typeof found === 'function' && 'fromPretrained' in found ? (found as unknown as LoadablePipeline) : undefined
}

/** Builds the pipeline of a case: the base folder, its replaced parts, its sampler, its set-up. */
export async function buildPipeline(folder: string, item: PipelineCase, tensors: Record<string, nd.Tensor> = {}): Promise<AnyPipeline> {
  const known = pipelineClass(item.pipe)
  if (known === undefined) {
    throw new Error(`no class ${item.pipe}`)
  }
  const overrides: Record<string, unknown> = {}
  for (const [name, path] of Object.entries(item.models)) {
    const slot = known.slots[camelCase(name)]
    if (slot === undefined) {
      throw new Error(`no component ${name}`)
    }
    const load = async (one: string): Promise<object> => slot.load(await componentFolder(join(folder, one), slot.folder), {})
    overrides[camelCase(name)] = typeof path === 'string' ? await load(path) : await Promise.all(path.map(load))
  }
  const base = join(folder, item.base)
  if (item.pipe === 'StableDiffusionLatentUpscalePipeline') {
    overrides.vae = await storedVae(base, tensors)
  }
  if (item.scheduler !== undefined) {
    overrides.scheduler = await swappedScheduler(base, item.scheduler, item.scheduler_config)
  }
  if (item.low_res_scheduler !== undefined) {
    overrides.lowResScheduler = schedulerFromConfig({ ...item.low_res_scheduler, _class_name: 'DDPMScheduler' })
  }
  const pipe = await known.fromPretrained(base, { ...overrides, ...camelKeys(item.init ?? {}) })
  if (item.setup?.vae_tiling) {
    pipe.vae.enableTiling()
  }
  if (item.setup?.freeu !== undefined) {
    pipe.unet.enableFreeU(item.setup.freeu)
  }
  if (item.setup?.ip_adapter !== undefined) {
    const weightName = item.setup.ip_adapter.map((_, i) => `${item.name}.ip_adapter_${i}.safetensors`)
    await pipe.loadIpAdapter(
      weightName.map(() => join(folder, 'cases')),
      { weightName, imageEncoderFolder: null },
    )
    pipe.setIpAdapterScale(item.setup.ip_scale ?? 1)
  }
  return pipe
}

/**
 * The autoencoder that decoded a stored picture. The pack's generator shares one among its pipelines, and diffusers' x4 upscaler sets the scaling
 * factor of the one that it gets to 0.08333 for good: later pictures are decoded with that.
 */
async function storedVae(base: string, tensors: Record<string, nd.Tensor>): Promise<nd.AutoencoderKL> {
  const vae = await nd.AutoencoderKL.fromPretrained(base, { subfolder: 'vae' })
  const [latents, image] = [tensors['out/latents'], tensors['out/image']]
  if (latents === undefined || image === undefined) {
    return vae
  }
  const decoded = (await nd.decodeLatents(vae, latents)).mul(0.5).add(0.5).clamp(0, 1)
  if (decoded.sub(image).abs().max().item() < 2e-3) {
    return vae
  }
  const weights = await nd.Tensor.loadSafetensors(join(base, 'vae', 'diffusion_pytorch_model.safetensors'))
  return nd.AutoencoderKL.fromWeights({ ...vae.config, scaling_factor: 0.08333 }, weights)
}

/** The folder of a part: that of a model, or the one inside it that has the part's name. */
async function componentFolder(path: string, name: string): Promise<string> {
  const inner = join(path, name)
  return (await stat(inner).catch(() => undefined))?.isDirectory() ? inner : path
}

/**
 * The sampler that took the place of the base folder's. The result is stored because the reference swapped in memory: there, what the
 * folder's file says outright was still a default, which does not carry over.
 */
async function swappedScheduler(
  base: string,
  [className, changes]: [string, SchedulerConfig],
  result?: SchedulerConfig,
): Promise<Scheduler> {
  if (result !== undefined) {
    return schedulerFromConfig(result)
  }
  const config = JSON.parse(await readFile(join(base, 'scheduler', 'scheduler_config.json'), 'utf8')) as SchedulerConfig
  return resolveScheduler({ ...changes, _class_name: className }, schedulerFromConfig(config).config)
}

/** Turns the stored arguments of a call into options; each call makes its generators anew. */
export function callOptions(
  item: PipelineCase,
  tensors: Record<string, nd.Tensor>,
  others: (name: string) => Record<string, nd.Tensor>,
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(item.call).map(([name, value]) => [camelCase(name), resolve(value, name, tensors, others)]))
}

function resolve(
  value: unknown,
  path: string,
  tensors: Record<string, nd.Tensor>,
  others: (name: string) => Record<string, nd.Tensor>,
): unknown {
  if (Array.isArray(value)) {
    return typeof value[0] === 'object' ? value.map((entry, i) => resolve(entry, `${path}.${i}`, tensors, others)) : value
  }
  if (typeof value !== 'object' || value === null) {
    return value
  }
  const [[marker, argument] = []] = Object.entries(value)
  switch (marker) {
    case '$gen':
      return new nd.Generator(argument as number)
    case '$gens':
      return (argument as number[]).map((seed) => new nd.Generator(seed))
    case '$image':
    case '$mask':
      return rawImage(tensors[`in/${path}`])
    case '$latents':
      return tensors[`in/${path}`]
    case '$from': {
      const [other, name] = argument as [string, string]
      const found = others(other)[name]
      if (found === undefined) {
        throw new Uncovered(`no ${name} of ${other} in this pack`)
      }
      return found
    }
    default:
      return value
  }
}

function rawImage(tensor: nd.Tensor | undefined): nd.RawImage {
  const [height = 0, width = 0] = tensor?.shape ?? []
  return { width, height, data: tensor?.toArray() as Uint8Array }
}

/** `num_inference_steps` -> `numInferenceSteps`. */
export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
}

function camelKeys(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [camelCase(name), value]))
}
