import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as nd from '../../ts/index.ts'
import { schedulerFromConfig } from '../../ts/schedulers/index.ts'
import { parityPack } from '../parity/pack.ts'
import { type AnyPipeline, camelCase } from '../parity/pipeline-cases.ts'

/** One call of `test/fixtures/families`, as its generator wrote it. */
export type FamilyCase = {
  pipe: string
  base: string
  models?: Record<string, string | string[]>
  scheduler: nd.SchedulerConfig
  call: Record<string, unknown>
  init?: Record<string, unknown>
  ip?: number
  ip_scale?: nd.ImagePromptScale | nd.ImagePromptScale[]
  freeu?: nd.FreeUOptions
}

const families = fileURLToPath(new URL('../fixtures/families', import.meta.url))
const pack = parityPack()

/** Cases by name, and the tensors of all under `<case>/<name>`. */
export async function familyCases(): Promise<{ cases: Map<string, FamilyCase>; tensors: Record<string, nd.Tensor> }> {
  const cases = JSON.parse(await readFile(join(families, 'cases.json'), 'utf8')) as Record<string, FamilyCase>
  return { cases: new Map(Object.entries(cases)), tensors: await nd.Tensor.loadSafetensors(join(families, 'cases.safetensors')) }
}

/** Where a model of a case lies: in the golden pack, or beside the cases. */
export function modelFolder(path: string): string {
  return path.startsWith('$families/') ? join(families, path.slice(10)) : join(pack, 'models', path)
}

/** What a case needs that this clone does not have (the larger models are in the whole pack only), or undefined. */
export function missingFolder({ base, models = {} }: FamilyCase): string | undefined {
  const folders = [join(pack, 'pipelines', base), ...Object.values(models).flat().map(modelFolder)]
  return folders.find((folder) => !existsSync(folder))
}

/** Builds the pipeline of a case, with its adapters. */
export async function familyPipeline(name: string, item: FamilyCase, className = item.pipe): Promise<AnyPipeline> {
  const known = (nd as unknown as Record<string, typeof nd.StableDiffusionPipeline>)[className]
  if (known === undefined) {
    throw new Error(`no class ${className}`)
  }
  const overrides: Record<string, unknown> = { scheduler: schedulerFromConfig(item.scheduler) }
  if (item.ip !== undefined) {
    overrides.imageEncoder = await imageEncoder()
  }
  for (const [part, path] of className === item.pipe ? Object.entries(item.models ?? {}) : []) {
    const load = (one: string): Promise<object> => known.slots[part]?.load(modelFolder(one), {}) ?? Promise.reject(new Error(`no ${part}`))
    overrides[part] = typeof path === 'string' ? await load(path) : await Promise.all(path.map(load))
  }
  const init = Object.fromEntries(Object.entries(item.init ?? {}).map(([key, value]) => [camelCase(key), value]))
  const pipe = (await known.fromPretrained(join(pack, 'pipelines', item.base), {
    ...overrides,
    ...init,
  } as never)) as unknown as AnyPipeline
  if (item.ip !== undefined && className === item.pipe) {
    await pipe.loadIpAdapter(await adapters(name, item.ip))
    pipe.setIpAdapterScale(item.ip_scale ?? 1)
  }
  return pipe
}

/** The IP-Adapters of a case. */
export function adapters(name: string, count: number): Promise<nd.IPAdapter[]> {
  return Promise.all(
    Array.from({ length: count }, (_, i) => nd.IPAdapter.fromPretrained(families, { weightName: `${name}.ip_adapter_${i}.safetensors` })),
  )
}

/** The image encoder of all cases. */
export function imageEncoder(): Promise<nd.CLIPVisionModelWithProjection> {
  return nd.CLIPVisionModelWithProjection.fromPretrained(join(pack, 'models', 'clip_vision_projection'))
}

/** The options of a case's call. */
export function familyOptions(name: string, item: FamilyCase, tensors: Record<string, nd.Tensor>): Record<string, unknown> {
  const entries = Object.entries(item.call).map(([key, value]) => [camelCase(key), resolve(value, name, tensors)])
  return { ...Object.fromEntries(entries), generator: new nd.Generator(5) }
}

function resolve(value: unknown, name: string, tensors: Record<string, nd.Tensor>): unknown {
  if (Array.isArray(value)) {
    return value.map((item) => resolve(item, name, tensors))
  }
  const { $image: image, $tensor: tensor } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, string>
  if (image !== undefined) {
    return storedPicture(tensors[`${name}/${image}`])
  }
  return tensor === undefined ? value : tensors[`${name}/${tensor}`]
}

/** A stored picture (H, W, 3) or mask (H, W) of bytes. */
export function storedPicture(tensor: nd.Tensor | undefined): nd.RawImage {
  const [height = 0, width = 0] = tensor?.shape ?? []
  return { width, height, data: tensor?.toArray() as Uint8Array }
}

/** Largest difference, relative to the largest golden value (at least 1). */
export function distance(actual: nd.Tensor | undefined, golden: nd.Tensor | undefined): number {
  if (actual === undefined || golden === undefined || String(actual.shape) !== String(golden.shape)) {
    return Number.POSITIVE_INFINITY
  }
  return Number(actual.sub(golden).abs().max().item()) / Math.max(1, Number(golden.abs().max().item()))
}
