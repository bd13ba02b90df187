import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { StableDiffusionPipeline, StableDiffusionXLPipeline, Tensor } from '../../ts/index.ts'
import { type Tally, Uncovered } from './tally.ts'

/** Tolerances of weights/README.md. */
const tolerance = { unet: 1e-4, text: 2e-5, delta: 1e-6, dora: 1e-4 }

type Pipe = StableDiffusionPipeline | StableDiffusionXLPipeline
type Tensors = Record<string, Tensor>
type LoraCase = {
  name: string
  base: string
  file?: string
  files?: string[]
  scales: number[]
  golden?: 'scale' | 'merged'
  dora?: unknown
  diffusers_error?: string
  keys?: string[]
}
type LycorisCase = LoraCase & { modules: [string, string][] }
type InversionCase = {
  name: string
  base: string
  file: string
  token?: string
  tokens: Record<string, number>
  prompts: { text: string; converted: string; ids: number[] }[]
}

/** Runs the cases of lora/, lycoris/ and textual_inversion/ of a pack. */
export async function parityAdapters(packDir: string, tally: Tally): Promise<void> {
  const folder = join(packDir, 'weights')
  const read = async <T>(area: string): Promise<[T[], Tensors]> => [
    JSON.parse(await readFile(join(folder, area, `${area}.json`), 'utf8')) as T[],
    await Tensor.loadSafetensors(join(folder, area, 'golden.safetensors')),
  ]
  const pipes: Record<string, Pipe> = {}
  const pipeOf = async (base: string): Promise<Pipe> => {
    const path = join(packDir, 'pipelines', base)
    if (!existsSync(join(path, 'model_index.json'))) {
      throw new Uncovered(`no ${base} in this part of the pack`)
    }
    const load = (): Promise<Pipe> =>
      base === 'tiny-sdxl' ? StableDiffusionXLPipeline.fromPretrained(path) : StableDiffusionPipeline.fromPretrained(path)
    const pipe = pipes[base] ?? (await load())
    pipes[base] = pipe
    return pipe
  }
  const [loras, loraGolden] = await read<LoraCase>('lora')
  for (const item of loras) {
    await tally.run(`lora ${item.name}`, async () => {
      const pipe = await pipeOf(item.base)
      await (item.files === undefined ? lora(pipe, folder, item, loraGolden, tally) : combo(pipe, folder, item, loraGolden, tally))
      return undefined
    })
  }
  const [changes, lycorisGolden] = await read<LycorisCase>('lycoris')
  for (const item of changes) {
    await tally.run(`lycoris ${item.name}`, async () => {
      await lycoris(await pipeOf(item.base), folder, item, lycorisGolden, tally)
      return undefined
    })
  }
  const [inversions, inversionGolden] = await read<InversionCase>('textual_inversion')
  for (const item of inversions) {
    await tally.run(`textual inversion ${item.name}`, async () => {
      await inversion(await pipeOf(item.base), folder, item, inversionGolden, tally)
      return undefined
    })
  }
  for (const pipe of Object.values(pipes)) {
    pipe.dispose()
  }
}

/** Outputs of the networks that adapters change, for a case's stored inputs. */
async function outputs(pipe: Pipe, golden: Tensors, name: string): Promise<Tensors> {
  const input = (key: string): Tensor => golden[`${name}/in/${key}`] as Tensor
  const { textEncoder, unet } = pipe.components
  const added = golden[`${name}/in/text_embeds`] && { textEmbeds: input('text_embeds'), timeIds: input('time_ids') }
  const result = await unet.forward(input('sample'), input('timestep'), {
    encoderHiddenStates: input('encoder_hidden_states'),
    addedCondKwargs: added || undefined,
  })
  const ids = golden[`${name}/in/input_ids`]
  const second = 'textEncoder2' in pipe.components ? pipe.components.textEncoder2 : undefined
  return {
    unet: result.sample,
    ...(ids && textEncoder ? { text_encoder: (await textEncoder.forward(ids)).lastHiddenState } : {}),
    ...(ids && second ? { text_encoder_2: (await second.forward(ids)).lastHiddenState } : {}),
  }
}

/** Compares outputs with the goldens under a prefix; throws if there is none. */
function compare(tally: Tally, what: string, actual: Tensors, golden: Tensors, prefix: string, unet: number): void {
  let compared = 0
  for (const [key, value] of Object.entries(actual)) {
    const wanted = golden[`${prefix}/${key}`]
    compared += wanted === undefined ? 0 : 1
    tally.near(`${what} ${key}`, value, wanted, key === 'unet' ? unet : tolerance.text)
  }
  if (compared === 0) {
    throw new Error(`no golden ${prefix}`)
  }
}

async function lora(pipe: Pipe, folder: string, item: LoraCase, golden: Tensors, tally: Tally): Promise<void> {
  const before = await outputs(pipe, golden, item.name)
  compare(tally, 'plain', before, golden, `${item.name}/plain`, tolerance.unet)
  const report = await pipe.loadLoraWeights(join(folder, item.file ?? ''), { adapterName: 'a', strict: true })
  if (report.matched !== item.keys?.length) {
    throw new Error(`${report.matched} of ${item.keys?.length} keys matched`)
  }
  for (const scale of item.scales) {
    pipe.setAdapters('a', scale)
    const label = Number.isInteger(scale) ? `${scale}.0` : String(scale)
    const prefix = `${item.name}/${item.golden ?? 'scale'}${label}`
    compare(tally, `scale ${scale}`, await outputs(pipe, golden, item.name), golden, prefix, item.dora ? tolerance.dora : tolerance.unet)
  }
  pipe.unloadLoraWeights()
  same('after unloading', await outputs(pipe, golden, item.name), before)
}

async function combo(pipe: Pipe, folder: string, item: LoraCase, golden: Tensors, tally: Tally): Promise<void> {
  const before = await outputs(pipe, golden, item.name)
  const names = (item.files ?? []).map((_, i) => `a${i}`)
  for (const [i, file] of (item.files ?? []).entries()) {
    await pipe.loadLoraWeights(join(folder, 'lora', file), { adapterName: names[i] })
  }
  pipe.setAdapters(names, item.scales)
  const active = await outputs(pipe, golden, item.name)
  compare(tally, 'both', active, golden, `${item.name}/out`, tolerance.unet)
  pipe.fuseLora()
  pipe.unloadLoraWeights()
  const fused = await outputs(pipe, golden, item.name)
  compare(tally, 'fused', fused, golden, `${item.name}/fused`, tolerance.unet)
  same('fused and active', fused, active)
  pipe.unfuseLora()
  same('after unfusing', await outputs(pipe, golden, item.name), before)
}

async function lycoris(pipe: Pipe, folder: string, item: LycorisCase, golden: Tensors, tally: Tally): Promise<void> {
  const before = await outputs(pipe, golden, item.name)
  compare(tally, 'plain', before, golden, `${item.name}/plain`, tolerance.unet)
  await pipe.loadLoraWeights(join(folder, item.file ?? ''), { adapterName: 'a', strict: true })
  for (const scale of item.scales) {
    pipe.setAdapters('a', scale)
    const label = Number.isInteger(scale) ? `${scale}.0` : String(scale)
    compare(tally, `scale ${scale}`, await outputs(pipe, golden, item.name), golden, `${item.name}/scale${label}`, tolerance.unet)
  }
  pipe.unloadLoraWeights()
  same('after unloading', await outputs(pipe, golden, item.name), before)
}

async function inversion(pipe: Pipe, folder: string, item: InversionCase, golden: Tensors, tally: Tally): Promise<void> {
  const { tokenizer, textEncoder } = pipe.components
  await pipe.loadTextualInversion(join(folder, item.file), { token: item.token })
  const { tokenizer: reader, textEncoder: encoder } = pipe.components
  const names = Object.keys(item.tokens)
  equal('ids', reader?.convertTokensToIds(names), Object.values(item.tokens))
  const rows = (table: Tensor | undefined): Tensor | undefined =>
    table && Tensor.stack(Object.values(item.tokens).map((id) => table.index(id)))
  tally.near('rows', rows(await encoder?.tokenEmbeddings()), golden[`${item.name}/out/rows`], tolerance.delta)
  const second = 'textEncoder2' in pipe.components ? pipe.components.textEncoder2 : undefined
  tally.near('second rows', rows(await second?.tokenEmbeddings()), golden[`${item.name}/out/rows_2`], tolerance.delta)
  for (const [i, { text, converted, ids }] of item.prompts.entries()) {
    equal('converted prompt', pipe.maybeConvertPrompt(text), converted)
    equal('ids of the prompt', Array.from(reader?.encode(converted).inputIds.toArray() ?? [], Number), ids)
    using encoded = await pipe.encodePrompt(text)
    tally.near('embeddings', encoded.promptEmbeds, golden[`${item.name}/out/prompt_embeds.${i}`], tolerance.text)
    const pooled = golden[`${item.name}/out/pooled.${i}`]
    tally.near('pooled', pooled && encoded.pooledPromptEmbeds, pooled, tolerance.text)
  }
  pipe.unloadTextualInversion()
  if (pipe.components.tokenizer !== tokenizer || pipe.components.textEncoder !== textEncoder) {
    throw new Error('after unloading: other components')
  }
}

function same(what: string, actual: Tensors, expected: Tensors): void {
  for (const [key, value] of Object.entries(actual)) {
    equal(`${what}: ${key}`, value.toArray(), expected[key]?.toArray())
  }
}

function equal(what: string, actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`${what}: expected ${String(expected).slice(0, 200)} but got ${String(actual).slice(0, 200)}`)
  }
}
