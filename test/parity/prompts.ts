import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, Tensor } from '../../ts/index.ts'
import { type AttentionGrammar, parseAttention } from '../../ts/prompt/attention.ts'
import { webuiChunks } from '../../ts/prompt/chunks.ts'
import type { CompelOptions } from '../../ts/prompt/compel/embeddings.ts'
import { encodeCompel, padToSameLength } from '../../ts/prompt/compel/encode.ts'
import { parseCompel } from '../../ts/prompt/compel/parse.ts'
import type { Blend, FlatPrompt, Fragment } from '../../ts/prompt/compel/syntax.ts'
import { encodePrompt } from '../../ts/prompt/encode-prompt.ts'
import { encodeLpw, type LpwOptions } from '../../ts/prompt/lpw.ts'
import type { ClipEncoder, TextComponentsXL } from '../../ts/prompt/text-encoders.ts'
import { encodeWebui } from '../../ts/prompt/webui.ts'
import { type ParityResult, Tally } from './tally.ts'

/** Tolerance of prompts/README.md for embeddings. */
const TOLERANCE = 5e-5

type AttentionCase = { text: string } & { [key in AttentionGrammar | `${AttentionGrammar}_error`]?: unknown }
type ChunkCase = { ids: number[]; weights: number[]; n_tokens: number }

/** Runs the prompt cases of a pack: brackets, chunks, and weighted embeddings of the web UI and of long-prompt weighting. */
export async function parityPrompts(packDir: string): Promise<ParityResult> {
  const read = async <T>(name: string): Promise<T> => JSON.parse(await readFile(join(packDir, 'prompts', name), 'utf8')) as T
  const tally = new Tally('prompts')
  const goldens = await Tensor.loadSafetensors(join(packDir, 'prompts', 'prompts.safetensors'))
  const golden = (key: string): Tensor => {
    const tensor = goldens[key]
    if (tensor === undefined) {
      throw new Error(`no golden ${key}`)
    }
    return tensor
  }
  const folder = join(packDir, 'pipelines', 'tiny-sd15')
  const tokenizer = await CLIPTokenizer.fromPretrained(folder, { subfolder: 'tokenizer' })
  const encoder = await CLIPTextModel.fromPretrained(folder, { subfolder: 'text_encoder' })

  const xl = join(packDir, 'pipelines', 'tiny-sdxl')
  const components: TextComponentsXL = {
    tokenizer: await CLIPTokenizer.fromPretrained(xl, { subfolder: 'tokenizer' }),
    textEncoder: await CLIPTextModel.fromPretrained(xl, { subfolder: 'text_encoder' }),
    tokenizer2: await CLIPTokenizer.fromPretrained(xl, { subfolder: 'tokenizer_2' }),
    textEncoder2: await CLIPTextModelWithProjection.fromPretrained(xl, { subfolder: 'text_encoder_2' }),
  }

  for (const item of await read<AttentionCase[]>('attention.json')) {
    for (const grammar of ['webui', 'lpw'] as const) {
      await tally.run(`attention ${grammar} ${JSON.stringify(item.text)}`, async () => {
        if (item[`${grammar}_error`] !== undefined) {
          refuses(() => parseAttention(item.text, grammar))
        } else {
          same('pairs', parseAttention(item.text, grammar), item[grammar])
        }
        return undefined
      })
    }
  }
  const real = await CLIPTokenizer.fromPretrained(join(packDir, 'tokenizer', 'clip'), { subfolder: '' })
  for (const item of await read<{ text: string; comma_backtrack: number; chunks: ChunkCase[] }[]>('chunks.json')) {
    await tally.run(`chunks ${item.comma_backtrack} ${JSON.stringify(item.text)}`, async () => {
      const chunks = webuiChunks(real, item.text, { commaBacktrack: item.comma_backtrack })
      same(
        'chunks',
        chunks.map(({ ids, weights, tokenCount }) => ({ ids, weights, n_tokens: tokenCount })),
        item.chunks,
      )
      return undefined
    })
  }
  for (const { text, key } of await read<{ text: string; key: string }[]>('webui_embeddings.json')) {
    await tally.run(`webui ${JSON.stringify(text)}`, async () => {
      const { embeds } = await encodeWebui(tokenizer, encoder, text)
      tally.near('embeddings', embeds, golden(key), TOLERANCE)
      return undefined
    })
  }
  type LpwCase = { prompt: string; negative: string; key: string; kwargs: Record<string, unknown>; ids: number[]; weights: number[] }
  for (const item of await read<LpwCase[]>('lpw.json')) {
    await tally.run(`lpw ${JSON.stringify(item.prompt)}`, async () => {
      const result = await encodeLpw(tokenizer, encoder, item.prompt, item.negative, lpwOptions(item.kwargs))
      same('ids', result.tokens.ids, item.ids)
      same('weights', result.tokens.weights, item.weights)
      tally.near('positive', result.promptEmbeds, golden(`${item.key}/positive`), TOLERANCE)
      tally.near('negative', result.negativePromptEmbeds, golden(`${item.key}/negative`), TOLERANCE)
      return undefined
    })
  }
  for (const item of await read<CompelCase[]>('compel.json')) {
    await compel(item, { encoder: { tokenizer, textEncoder: encoder }, components }, tally, golden)
  }
  return tally.result()
}

type Encoders = { encoder: ClipEncoder; components: TextComponentsXL }
type CompelPrompt = { text: string; parsed: unknown; error?: unknown }
type CompelCase = {
  config?: string
  kwargs?: Record<string, unknown>
  prompts?: CompelPrompt[]
  pad_to_same_length?: [string, string]
  sdxl?: [prompt: string, negative: string]
  key?: string
}

async function compel(item: CompelCase, { encoder, components }: Encoders, tally: Tally, golden: (key: string) => Tensor): Promise<void> {
  const options = compelOptions(item.kwargs ?? {})
  for (const [i, { text, parsed }] of (item.prompts ?? []).entries()) {
    await tally.run(`compel ${item.config} ${JSON.stringify(text)}`, async () => {
      const tree = parseCompel(text)
      same('tree', { conjunction: tree.parts.map(describePart), weights: tree.weights, type: 'AND' }, parsed)
      using embeds = await encodeCompel(encoder, text, options)
      tally.near('embeddings', embeds.squeeze(0), golden(`compel/${item.config}/${i}`), TOLERANCE)
      return undefined
    })
  }
  if (item.pad_to_same_length !== undefined) {
    await tally.run(`compel ${item.key}`, async () => {
      const options = { truncateLongPrompts: false }
      const embeds = await Promise.all((item.pad_to_same_length ?? []).map((text) => encodeCompel(encoder, text, options)))
      const [positive, negative] = await padToSameLength(encoder, embeds, options)
      tally.near('positive', positive?.squeeze(0), golden(`${item.key}/positive`).reshape(positive?.squeeze(0).shape ?? []), TOLERANCE)
      tally.near('negative', negative?.squeeze(0), golden(`${item.key}/negative`).reshape(negative?.squeeze(0).shape ?? []), TOLERANCE)
      return undefined
    })
  }
  if (item.sdxl !== undefined) {
    const [prompt, negativePrompt] = item.sdxl
    await tally.run(`compel ${item.key}`, async () => {
      using conditioning = await encodePrompt(components, prompt, { syntax: 'compel', negativePrompt })
      for (const [name, tensor] of Object.entries(conditioning.at())) {
        tally.near(name, tensor as Tensor, golden(`${item.key}/${sdxlKeys[name as keyof typeof sdxlKeys]}`), TOLERANCE)
      }
      return undefined
    })
  }
}

const MODES = { SENTENCES: 'sentences', PHRASES: 'phrases', WORDS: 'words', BRUTAL: 'brutal' } as const

/** Names of the goldens of CompelForSDXL. */
const sdxlKeys = {
  promptEmbeds: 'embeds',
  negativePromptEmbeds: 'negative_embeds',
  pooledPromptEmbeds: 'pooled_embeds',
  negativePooledPromptEmbeds: 'negative_pooled_embeds',
} as const

/** Options of `Compel(...)`. */
function compelOptions({
  truncate_long_prompts,
  downweight_mode,
  split_long_text_mode,
  returned_embeddings_type,
}: Record<string, unknown>): CompelOptions {
  return {
    truncateLongPrompts: truncate_long_prompts !== false,
    downweightMode: downweight_mode === 'REMOVE' ? 'remove' : 'mask',
    ...(typeof split_long_text_mode === 'string' ? { splitLongTextMode: MODES[split_long_text_mode as keyof typeof MODES] } : {}),
    ...(returned_embeddings_type === undefined
      ? {}
      : { clipSkip: 1, norm: returned_embeddings_type === 'PENULTIMATE_HIDDEN_STATES_NORMALIZED' }),
  }
}

/** A part as the pack writes it; a swap in the notation of compel's own `__repr__`. */
function describePart(part: FlatPrompt | Blend): unknown {
  if (part.kind === 'blend') {
    return { blend: part.prompts.map(describePart), weights: part.weights, normalize_weights: part.normalize }
  }
  const float = (value: number | string): string => (Number.isInteger(value) ? `${value}.0` : String(value))
  const list = (fragments: readonly Fragment[]): string =>
    `[${fragments.map(({ text, weight }) => `Fragment:'${text}'@${float(weight)}`).join(', ')}]`
  return {
    prompt: part.children.map((child) => {
      if (child.kind === 'fragment') {
        return [child.text, child.weight]
      }
      const options = Object.entries(child.options).map(([key, value]) => `'${key}': ${float(value)}`)
      const name = 'CrossAttentionControlSubstitute'
      return { [name]: `${name}:(${list(child.original)}->${list(child.edited)} ({${options.join(', ')}})` }
    }),
  }
}

function lpwOptions({ multiples, no_boseos_middle, weighting }: Record<string, unknown>): LpwOptions {
  return {
    ...(typeof multiples === 'number' ? { maxEmbeddingsMultiples: multiples } : {}),
    noBoseosMiddle: no_boseos_middle === true,
    skipWeighting: weighting === false,
  }
}

function same(what: string, actual: unknown, expected: unknown): void {
  if (!isDeepStrictEqual(actual, expected)) {
    throw new Error(`${what}: expected ${JSON.stringify(expected)?.slice(0, 300)} but got ${JSON.stringify(actual)?.slice(0, 300)}`)
  }
}

function refuses(work: () => unknown): void {
  try {
    work()
  } catch {
    return
  }
  throw new Error('expected to be refused')
}
