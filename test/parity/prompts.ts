import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { CLIPTextModel, CLIPTokenizer, Tensor } from '../../ts/index.ts'
import { type AttentionGrammar, parseAttention } from '../../ts/prompt/attention.ts'
import { webuiChunks } from '../../ts/prompt/chunks.ts'
import { encodeLpw, type LpwOptions } from '../../ts/prompt/lpw.ts'
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
  for (const { config, prompts = [], key } of await read<{ config?: string; prompts?: { text: string }[]; key?: string }[]>(
    'compel.json',
  )) {
    for (const name of config === undefined ? [`compel ${key}`] : prompts.map(({ text }) => `compel ${config} ${JSON.stringify(text)}`)) {
      await tally.run(name, async () => 'compel')
    }
  }
  const result = tally.result()
  process.stdout.write(`${result.lines.join('\n')}\n`)
  return result
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
