import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as nd from '../../ts/index.ts'
import {
  Generator,
  KandinskyV22PriorPipeline,
  type RawImage,
  type SchedulerConfig,
  schedulerFromConfig,
  Tensor,
  UNet2DConditionModel,
} from '../../ts/index.ts'

/** One case of `test/fixtures/kandinsky`, as its generator wrote it. */
export type KandinskyCase = {
  pipe: string
  scheduler: SchedulerConfig
  call: Record<string, unknown>
  results: string[]
  generators: number[] | null
  unet?: string
  timesteps?: number[]
}

/** What the tests use of a pipeline, whichever it is. */
export type AnyKandinsky = AsyncDisposable & { generate(options: object): Promise<Record<string, Tensor>> }

/** The folder of tiny models and goldens. */
export const fixtures: string = fileURLToPath(new URL('../fixtures/kandinsky', import.meta.url))

/** Cases by name, and the tensors of all under `<case>/<name>`. */
export async function kandinskyCases(): Promise<{ cases: Record<string, KandinskyCase>; tensors: Record<string, Tensor> }> {
  const cases = JSON.parse(await readFile(join(fixtures, 'cases.json'), 'utf8')) as Record<string, KandinskyCase>
  return { cases, tensors: await Tensor.loadSafetensors(join(fixtures, 'cases.safetensors')) }
}

/** The pipeline of a case, loaded from the tiny folders. */
export async function pipelineOf({ pipe, scheduler, unet }: KandinskyCase): Promise<AnyKandinsky> {
  if (pipe === 'KandinskyV22PriorPipeline') {
    return (await KandinskyV22PriorPipeline.fromPretrained(join(fixtures, 'prior'))) as unknown as AnyKandinsky
  }
  const known = (nd as unknown as Record<string, typeof nd.KandinskyV22Pipeline>)[pipe]
  if (known === undefined) {
    throw new Error(`no class ${pipe}`)
  }
  const own = unet === undefined ? {} : { unet: await UNet2DConditionModel.fromPretrained(join(fixtures, unet)) }
  const given = { scheduler: schedulerFromConfig(scheduler), ...own }
  return (await known.fromPretrained(join(fixtures, 'decoder'), given)) as unknown as AnyKandinsky
}

/** The options of a case's call. */
export function optionsOf(name: string, { call, generators }: KandinskyCase, tensors: Record<string, Tensor>): Record<string, unknown> {
  const camel = (key: string): string => key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase())
  const entries = Object.entries(call).map(([key, value]) => [camel(key), resolve(value, name, tensors)])
  const generator = generators === null ? new Generator(5) : generators.map((seed) => new Generator(seed))
  return { ...Object.fromEntries(entries), generator }
}

function resolve(value: unknown, name: string, tensors: Record<string, Tensor>): unknown {
  const { $image: image, $tensor: tensor } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, string>
  if (image !== undefined) {
    return storedPicture(tensors[`${name}/${image}`])
  }
  return tensor === undefined ? value : tensors[`${name}/${tensor}`]
}

/** A stored picture (H, W, 3) or mask (H, W) of bytes. */
export function storedPicture(tensor: Tensor | undefined): RawImage {
  const [height = 0, width = 0] = tensor?.shape ?? []
  return { width, height, data: tensor?.toArray() as Uint8Array }
}
